"""The password grant (RFC 6749 4.3), for first-party clients that were given it."""

from uuid import UUID

from service.audit.failures import Failure, Why
from service.clients.directory import Client, Directory
from service.errors import OAuthError, Unavailable
from service.grants.answer import Caller, Parts, session_answer
from service.grants.requests import PasswordRequest
from service.grants.scope import audience, check_known, granted
from service.sessions.starting import SignIn, start
from service.users import store
from service.users.passwords import Gone
from service.users.roles import carried
from service.users.store import User

_NOBODY = UUID(int=0)

ATTEMPTS = 3
"""A sign-in that an unrelated change of the user interrupts begins again, so often."""


async def grant(
    parts: Parts, client: Client, request: PasswordRequest, caller: Caller, gone: Gone
) -> dict[str, object]:
    """Sign a user in: an access token, and a refresh token if the client may refresh."""
    directory = parts.directory.current
    aud = audience(request.asked, client, directory)
    check_known(request.asked.scope, directory)
    understood = directory.understood(frozenset(aud))

    for _ in range(ATTEMPTS):
        user = await _authenticate(parts, client, request, caller, gone)
        scope = granted(request.asked.scope, client, understood, carried(parts.roles.current, user.roles))
        started = await start(
            parts.database,
            SignIn(
                user_id=user.id,
                user_epoch=user.epoch,
                password_changed_at=user.password_changed_at,
                client_id=client.id,
                client_epoch=client.epoch,
                roles=user.roles,
                amr=("pwd",),
                scopes=scope,
                resources=aud,
                address=caller.address,
                user_agent=caller.user_agent,
            ),
            idle=client.idle(parts.settings.refresh_token_idle),
            lifetime=client.lifetime(parts.settings.session_lifetime),
        )
        if started is not None:
            return session_answer(parts, client, started, aud, scope)
        client = _still_there(await parts.directory.refresh(), client)
    raise Unavailable("the user's record", detail=f"it changed during {ATTEMPTS} sign-ins in a row")


async def _authenticate(
    parts: Parts, client: Client, request: PasswordRequest, caller: Caller, gone: Gone
) -> User:
    async with parts.guesses.sign_in(store.normalised(request.username), caller.address) as guess:
        async with parts.database.connect() as db:
            user = await store.by_name(db, request.username)
        right, renewed = await parts.passwords.verify(
            request.password, user.password_hash if user else None, gone
        )
        if user is None or not right or user.disabled:
            why: Why = "unknown user" if user is None else "wrong password" if not right else "disabled user"
            parts.failures.note(Failure(why, user.id if user else None, client.id, caller.address))
            await guess.failed(user_id=user.id if user else None, client_id=client.id)
            # One answer for an unknown user, a wrong password and a disabled user: who guesses learns nothing.
            # Nor by time: a line of the log takes as long as it is.
            detail = f"{why}, user {user.id if user else _NOBODY}"
            raise OAuthError("invalid_grant", "the username or the password is wrong", detail=detail)
        await guess.succeeded()
    if renewed is not None and user.password_hash is not None:
        async with parts.database.connect() as db:
            await store.rehash(db, user.id, old=user.password_hash, renewed=renewed)
    return user


def _still_there(directory: Directory, client: Client) -> Client:
    known = directory.clients.get(client.id)
    if known is None or known.disabled or not known.proven_as(client):
        raise OAuthError("invalid_client", "the client was changed during the sign-in; authenticate again")
    return known
