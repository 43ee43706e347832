"""Changes of users and clients, each in one transaction with the end of what it must end.

The order of locks is everywhere the same: the user's or client's row, its sessions by id, the revocations' number.
"""

from collections.abc import Sequence
from datetime import timedelta
from uuid import UUID

from service import audit
from service.catalog import changed
from service.clients import secrets
from service.clients import store as clients
from service.clients.rules import NotAllowed
from service.clients.secrets import Secret
from service.database import Connection, Row
from service.revocation import Reason, Revocation, Revocations, Revoking
from service.sessions.ending import end_in, end_others_in, end_rows_in, is_live_in
from service.users import store as users
from service.users.store import Raised, User

_NOTHING_LEFT = Raised(dead_below=None)


class _TooLate(Exception):
    """Rolls back a change that its session did not live to see."""


async def sign_out_everywhere(
    revocations: Revocations, user_id: UUID, lifetime: timedelta, *, address: str | None = None
) -> None:
    """End every session of a user and kill every token made for the user until now."""
    async with revocations.transaction() as revoking:
        raised = await users.raise_epoch(revoking.db, user_id)
        if raised is None:
            return
        await _end_all(revoking, user_id, raised, "logout_all", lifetime)
        await audit.record(revoking.db, "user.signed_out_everywhere", user_id=user_id, address=address)


async def sign_out(
    revocations: Revocations,
    session_id: UUID,
    reason: Reason,
    lifetime: timedelta,
    *,
    address: str | None = None,
) -> bool:
    """End one session; its access tokens are dead in any case. False: it had ended before."""
    async with revocations.transaction() as revoking:
        ended = await end_in(revoking, session_id, reason, lifetime, address=address)
        if not ended:
            revoking.revoke(Revocation("sid", str(session_id), reason, lifetime))
        return ended


async def change_password(
    revocations: Revocations,
    user: User,
    password_hash: str,
    session_id: UUID,
    lifetime: timedelta,
    *,
    address: str | None,
) -> int | None:
    """Set a password that its user chose, and end every other session; return how many.

    None, and nothing is done: since `user` was read the password was changed, the user shut out, or the
    session ended. Two slow hashes lie between, time enough.
    """
    try:
        async with revocations.transaction() as revoking:
            if not await users.change_password(revoking.db, user, password_hash):
                return None
            await _require_live(revoking, session_id)
            ended = await end_others_in(revoking, user.id, session_id, "password_changed", lifetime)
            await audit.record(
                revoking.db, "user.password_changed", user_id=user.id, session_id=session_id, address=address
            )
    except _TooLate:
        return None
    return len(ended)


async def reset_password(
    revocations: Revocations, user_id: UUID, password_hash: str, lifetime: timedelta
) -> bool:
    """Set a password that an operator chose, end every session, kill every token. False: no such user."""
    async with revocations.transaction() as revoking:
        raised = await users.reset_password(revoking.db, user_id, password_hash)
        if raised is None:
            return False
        await _end_all(revoking, user_id, raised, "password_reset", lifetime)
        await audit.record(revoking.db, "user.password_reset", user_id=user_id)
    return True


async def disable_user(revocations: Revocations, user_id: UUID, lifetime: timedelta) -> bool:
    """Shut a user out: no sign-in, no session, every token dead. False: it was so already."""
    async with revocations.transaction() as revoking:
        raised = await users.disable(revoking.db, user_id)
        if raised is None:
            return False
        await _end_all(revoking, user_id, raised, "user_disabled", lifetime)
        await audit.record(revoking.db, "user.disabled", user_id=user_id)
    return True


async def enable_user(revocations: Revocations, user_id: UUID, lifetime: timedelta) -> bool:
    """Let a user sign in again; what was made before stays dead. False: it was enabled already."""
    async with revocations.transaction() as revoking:
        raised = await users.enable(revoking.db, user_id)
        if raised is None:
            return False
        revoking.revoke(Revocation("sub", str(user_id), "user_enabled", lifetime, raised.dead_below))
        await audit.record(revoking.db, "user.enabled", user_id=user_id)
    return True


async def set_roles(
    revocations: Revocations, user_id: UUID, roles: Sequence[str], lifetime: timedelta
) -> bool:
    """Give a user other roles. Sessions go on; tokens that tell of the old roles are dead. False: no such user."""
    async with revocations.transaction() as revoking:
        raised = await users.set_roles(revoking.db, user_id, roles)
        if raised is None:
            return False
        revoking.revoke(Revocation("sub", str(user_id), "roles_changed", lifetime, raised.dead_below))
        await audit.record(revoking.db, "user.roles_changed", user_id=user_id, detail=" ".join(roles))
    return True


async def delete_user(
    revocations: Revocations,
    user_id: UUID,
    lifetime: timedelta,
    *,
    proved: tuple[User, UUID] | None = None,
    address: str | None = None,
) -> bool:
    """Delete a user with everything of theirs; every session is ended, every token dead.

    What stays is the story, by the id alone. False, and nothing is done: there is no such user, or, where the
    user asked for it and has `proved` to be the one that was read, through that session, one of both has changed
    since then.
    """
    try:
        async with revocations.transaction() as revoking:
            found = await users.held(revoking.db, user_id)
            if found is None:
                return False
            if proved is not None:
                user, session_id = proved
                if found.disabled or found.epoch != user.epoch or not found.has_password_of(user):
                    return False
                await _require_live(revoking, session_id)
            # First, so that their ends are told; then the row takes theirs along.
            await _end_all(revoking, user_id, _NOTHING_LEFT, "user_deleted", lifetime)
            await users.delete(revoking.db, user_id)
            await audit.record(revoking.db, "user.deleted", user_id=user_id, address=address)
    except _TooLate:
        return False
    return True


async def disable_client(revocations: Revocations, client_id: str, lifetime: timedelta) -> bool:
    """Shut a client out: it gets no token, its sessions are over, every token dead. False: it was so already.

    A worker whose copy of the clients is a moment old may still give it one, which is dead when it is made.
    """
    async with revocations.transaction() as revoking:
        if await clients.disable(revoking.db, client_id) is None:
            return False
        await changed(revoking.db)
        revoking.revoke(Revocation("client_id", client_id, "client_disabled", lifetime))
        await audit.record(revoking.db, "client.disabled", client_id=client_id)
    return True


async def enable_client(revocations: Revocations, client_id: str, lifetime: timedelta) -> bool:
    """Let a client get tokens again; what was made before stays dead. False: it was enabled already."""
    async with revocations.transaction() as revoking:
        epoch = await clients.enable(revoking.db, client_id)
        if epoch is None:
            return False
        await changed(revoking.db)
        revoking.revoke(Revocation("client_id", client_id, "client_enabled", lifetime, epoch))
        await audit.record(revoking.db, "client.enabled", client_id=client_id)
    return True


async def add_secret(db: Connection, client_id: str, secret: str) -> Secret:
    """Give a confidential client another secret beside the one that it has; `db` is in a transaction."""
    row = await clients.lock(db, client_id)
    if row is None or row["secret_sha256"] is None:
        raise NotAllowed(f"{client_id} is a public client: it has no secret")
    live = secrets.of(row)
    if len(live) == secrets.MOST:
        raise NotAllowed(
            f"{client_id} has two secrets already; first: sealwright clients secret remove {client_id} "
            f"{live[0].fingerprint}"
        )
    added = secrets.made_now(clients.digest(secret))
    if added.digest in {known.digest for known in live}:
        raise NotAllowed(f"{client_id} has this very secret already")
    await _set_secrets(db, row, [*live, added])
    await audit.record(db, "client.secret_added", client_id=client_id, detail=added.fingerprint)
    return added


async def remove_secret(db: Connection, client_id: str, fingerprint: str) -> None:
    """Take one of a client's secrets back, not the last thing that it can prove itself by; `db` as above."""
    row = await clients.lock(db, client_id)
    live = [] if row is None else secrets.of(row)
    left = [secret for secret in live if secret.fingerprint != fingerprint]
    if row is None or len(left) == len(live):
        raise NotAllowed(
            f"{client_id} has no secret {fingerprint!r}; see: sealwright clients secret list {client_id}"
        )
    if not left and row["jwks"] is None and row["jwks_uri"] is None:
        raise NotAllowed(
            f"This is the last secret of {client_id}. Add another first, or shut the client out: "
            f"sealwright clients disable {client_id}"
        )
    await _set_secrets(db, row, left)
    await audit.record(db, "client.secret_removed", client_id=client_id, detail=fingerprint)


async def _set_secrets(db: Connection, row: Row, live: Sequence[Secret]) -> None:
    values = {name: row[name] for name in clients.SETTABLE}
    await clients.change(db, row["id"], values, secrets.columns(live, confidential=True))
    await changed(db)


async def _end_all(
    revoking: Revoking, user_id: UUID, raised: Raised, reason: Reason, lifetime: timedelta
) -> None:
    await end_rows_in(revoking, user_id, reason)
    revoking.revoke(Revocation("sub", str(user_id), reason, lifetime, raised.dead_below))


async def _require_live(revoking: Revoking, session_id: UUID) -> None:
    if not await is_live_in(revoking, session_id):
        raise _TooLate
