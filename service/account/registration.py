"""Adding users, clients, resources and roles: checked, audited and told to every worker, in one transaction.

What is refused is a `NotAllowed`, in words for the operator.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Literal
from uuid import UUID

import asyncpg

from service import audit
from service.catalog import changed
from service.clients import rules
from service.clients import store as clients
from service.clients.directory import OWN_SCOPES
from service.clients.rules import NotAllowed
from service.database import Connection
from service.settings import Settings
from service.users import roles, store
from service.users.store import normalised

_TAKEN_OR_WRONG = {
    "uq_users_username": "This username is taken; see: sealwright users list",
    "uq_users_email": "A user has this email address already; see: sealwright users list",
    "ck_users_username": "A username is 1 to 64 characters, without @ and control characters",
    "ck_users_email": "An email address has one @ with something before and after it",
    "pk_clients": "This client_id is taken; see: sealwright clients list",
    "pk_resources": "This resource is there already; see: sealwright resources list",
    "fk_resources_client_id_clients": "There is no such client; see: sealwright clients list",
    "pk_roles": "This role is there already; see: sealwright roles list",
    "ck_roles_name": "A role's name is 1 to 64 ASCII characters, without spaces, quotes and backslashes",
}


async def check_user(db: Connection, username: str, email: str | None, roles: Sequence[str]) -> None:
    """Refuse early, before a password is asked for, what `add_user` would refuse later."""
    if not 1 <= len(normalised(username)) <= 64 or "@" in username:
        raise NotAllowed(_TAKEN_OR_WRONG["ck_users_username"])
    if await store.by_name(db, username) is not None:
        raise NotAllowed(_TAKEN_OR_WRONG["uq_users_username"])
    if email is not None and await store.by_name(db, email) is not None:
        raise NotAllowed(_TAKEN_OR_WRONG["uq_users_email"])
    await check_roles(db, roles)


async def check_roles(db: Connection, names: Sequence[str]) -> None:
    """Refuse roles that do not exist, or are too many for one user."""
    rules.check_roles(names)
    unknown = await store.unknown_roles(db, names)
    if unknown:
        raise NotAllowed(f"There is no role {unknown[0]!r}; see: sealwright roles list")


async def add_user(
    db: Connection, *, username: str, email: str | None, password_hash: str | None, roles: Sequence[str]
) -> UUID:
    """Add a user; without a hash, one that cannot sign in by password. Return the id."""
    await check_user(db, username, email, roles)
    async with in_words():
        user_id = await store.add(
            db, username=username, email=email, password_hash=password_hash, roles=roles
        )
    await audit.record(db, "user.added", user_id=user_id, detail=" ".join(roles) or None)
    return user_id


@dataclass(frozen=True, slots=True)
class Refused:
    """A registration that did not happen; the words are for whoever asked."""

    why: Literal["taken", "malformed"]
    words: str


async def check_sign_up(db: Connection, username: str, email: str | None) -> Refused | None:
    """Say early, before a password is hashed, why `sign_up` would refuse; None if it would not."""
    taken = await store.by_name(db, username) or (email and await store.by_name(db, email))
    return _IN_PUBLIC["uq_users_username"] if taken else None


async def sign_up(
    db: Connection,
    *,
    username: str,
    email: str | None,
    password_hash: str,
    roles: Sequence[str],
    address: str | None,
) -> UUID | Refused:
    """Add a user who asked for it; the constraints decide, whatever was looked at before. Return the id.

    Raises:
        NotAllowed: the roles, which the caller did not choose, do not exist.
    """
    await check_roles(db, roles)
    try:
        async with db.transaction():
            user_id = await store.add(
                db, username=username, email=email, password_hash=password_hash, roles=roles
            )
    except asyncpg.IntegrityConstraintViolationError as error:
        refused = _IN_PUBLIC.get(error.constraint_name or "")
        if refused is None:
            raise
        return refused
    await audit.record(db, "user.registered", user_id=user_id, address=address)
    return user_id


# One answer for a name and an address that are taken: who asks is told no more than that this will not do.
_TAKEN = Refused("taken", "this username or email address is taken")
_IN_PUBLIC = {
    "uq_users_username": _TAKEN,
    "uq_users_email": _TAKEN,
    "ck_users_username": Refused(
        "malformed", "a username is 1 to 64 characters, without @ and control characters"
    ),
    "ck_users_email": Refused("malformed", "an email address has one @ with something before and after it"),
}


async def add_client(db: Connection, new: clients.NewClient, settings: Settings) -> None:
    """Add a client. A resource must be there before a client may use it."""
    rules.check_lifetimes(
        settings,
        access_token_lifetime=new.access_token_lifetime,
        refresh_token_idle=new.refresh_token_idle,
        session_lifetime=new.session_lifetime,
        refresh_grace=new.refresh_grace,
    )
    rules.check_origins(new.origins, public=new.public)
    jwks = rules.check_keys(public=new.public, jwks=new.jwks, jwks_uri=new.jwks_uri)
    rules.check_client(
        new.client_id,
        public=new.public,
        grant_types=new.grant_types,
        first_party=new.first_party,
        scopes=new.scopes,
        default_scopes=new.default_scopes,
        resources=new.resources,
        default_resources=new.default_resources,
    )
    known = {row["uri"] for row in await clients.resources_listed(db)}
    for uri in new.resources:
        if uri not in known:
            raise NotAllowed(f"There is no resource {uri!r}; first: sealwright resources add {uri}")
    async with in_words():
        await clients.add(db, replace(new, jwks=jwks))
    await changed(db)
    await audit.record(db, "client.added", client_id=new.client_id, detail=" ".join(new.grant_types) or None)


async def add_resource(
    db: Connection, *, uri: str, scopes: Collection[str], client_id: str | None, issuer: str
) -> None:
    """Add a resource, with the client that it introspects as."""
    rules.check_resource(uri, scopes, issuer)
    async with in_words():
        await clients.add_resource(db, uri=uri, scopes=list(scopes), client_id=client_id)
    await changed(db)
    await audit.record(db, "resource.added", client_id=client_id, detail=uri)


async def add_role(db: Connection, *, name: str, scopes: Collection[str]) -> None:
    """Add a role."""
    rules.check_scopes(scopes)
    async with in_words():
        await roles.add(db, name=name, scopes=scopes)
    await changed(db)
    await audit.record(db, "role.added", detail=" ".join((name, *scopes)))


async def not_understood(db: Connection, scopes: Collection[str]) -> list[str]:
    """Return the scopes that no resource understands yet, and so nobody is granted."""
    known = OWN_SCOPES.union(*(row["scopes"] for row in await clients.resources_listed(db)))
    return [scope for scope in scopes if scope not in known]


@asynccontextmanager
async def in_words() -> AsyncIterator[None]:
    """Turn a constraint's refusal into words: it decides, whatever was looked at before."""
    try:
        yield
    except asyncpg.IntegrityConstraintViolationError as error:
        words = _TAKEN_OR_WRONG.get(error.constraint_name or "")
        if words is None:
            raise
        raise NotAllowed(words) from None
