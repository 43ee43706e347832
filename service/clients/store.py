"""Client and resource rows: added, changed, listed."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256
from secrets import token_urlsafe
from typing import Any

import sqlalchemy as sa

from service.clients import secrets
from service.clients.tables import clients, resources
from service.database import Connection, Row, Statement, now

GRANT_TYPES = ("password", "client_credentials", "refresh_token")

SETTABLE = (
    "name",
    "grant_types",
    "first_party",
    "scopes",
    "default_scopes",
    "resources",
    "default_resources",
    "introspect_any",
    "refresh_grace",
    "access_token_lifetime",
    "refresh_token_idle",
    "session_lifetime",
    "jwks",
    "jwks_uri",
    "origins",
)
"""The columns that an operator decides about, besides the secrets."""
_SECRETS = ("secret_sha256", "secret_made_at", "second_secret_sha256", "second_secret_made_at")

_add = Statement(
    sa.insert(clients).values(
        id=sa.bindparam("client_id"), **{name: sa.bindparam(name) for name in (*SETTABLE, *_SECRETS)}
    )
)
_change = Statement(
    sa.update(clients)
    .where(clients.c.id == sa.bindparam("client_id"))
    .values({name: sa.bindparam(name) for name in (*SETTABLE, *_SECRETS)})
)
_locked = Statement(sa.select(clients).order_by(clients.c.id).with_for_update())
_lock = Statement(sa.select(clients).where(clients.c.id == sa.bindparam("client_id")).with_for_update())
_all = Statement(sa.select(clients).order_by(clients.c.id))
_by_id = Statement(sa.select(clients).where(clients.c.id == sa.bindparam("client_id")))
_epoch_raised = sa.update(clients).where(clients.c.id == sa.bindparam("client_id")).returning(clients.c.epoch)
_disable = Statement(
    _epoch_raised.values(epoch=clients.c.epoch + 1, disabled_at=now()).where(clients.c.disabled_at.is_(None))
)
_enable = Statement(_epoch_raised.values(disabled_at=None).where(clients.c.disabled_at.is_not(None)))
_leap = Statement(
    sa.update(clients)
    .values(epoch=clients.c.epoch + sa.bindparam("leap", type_=sa.BigInteger))
    .returning(clients.c.id, clients.c.epoch, clients.c.disabled_at.is_not(None).label("disabled"))
)
_add_resource = Statement(
    sa.insert(resources).values(
        uri=sa.bindparam("uri"), scopes=sa.bindparam("scopes"), client_id=sa.bindparam("client_id")
    )
)
_change_resource = Statement(
    sa.update(resources)
    .where(resources.c.uri == sa.bindparam("key"))
    .values(scopes=sa.bindparam("scopes"), client_id=sa.bindparam("client_id"))
)
_remove_resource = Statement(sa.delete(resources).where(resources.c.uri == sa.bindparam("key")))
_all_resources = Statement(sa.select(resources).order_by(resources.c.uri))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewClient:
    """A client as it is to be; without a secret and keys, a public one."""

    client_id: str
    name: str
    secret: str | None = field(repr=False)
    grant_types: Sequence[str]
    first_party: bool = False
    scopes: Sequence[str] = ()
    default_scopes: Sequence[str] = ()
    resources: Sequence[str] = ()
    default_resources: Sequence[str] = ()
    introspect_any: bool = False
    refresh_grace: timedelta | None = None
    access_token_lifetime: timedelta | None = None
    refresh_token_idle: timedelta | None = None
    session_lifetime: timedelta | None = None
    jwks: str | None = None
    jwks_uri: str | None = None
    origins: Sequence[str] = ()

    @property
    def public(self) -> bool:
        """Whether it cannot keep a secret (RFC 6749 2.1)."""
        return self.secret is None and not self.has_keys

    @property
    def has_keys(self) -> bool:
        """Whether it can prove itself by a key of its own."""
        return self.jwks is not None or self.jwks_uri is not None


def new_secret() -> str:
    """Make a client secret: 256 bits, with a prefix and a checksum by which scanners know it."""
    body = token_urlsafe(32)
    return f"swcs_{body}_{zlib.crc32(body.encode()):08x}"


def digest(secret: str) -> bytes:
    """Return what is stored of a secret. It has 256 random bits, so no slow hash is needed."""
    return sha256(secret.encode()).digest()


def is_user_id(client_id: str) -> bool:
    """Whether a client_id has the form of a user's id, which none may have (RFC 9700 4.15)."""
    return re.fullmatch(r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", client_id) is not None


async def add(db: Connection, new: NewClient) -> None:
    """Insert a client. What the table's constraints refuse is an `asyncpg` error."""
    live = [] if new.secret is None else [secrets.made_now(digest(new.secret))]
    values = {name: getattr(new, name) for name in SETTABLE}
    await insert(db, new.client_id, values, secrets.columns(live, confidential=not new.public))


async def insert(
    db: Connection, client_id: str, values: Mapping[str, Any], its_secrets: Mapping[str, Any]
) -> None:
    """Insert a client with these `SETTABLE` columns and those of `secrets.columns`. Raises as `add`."""
    await db.rows(_add, client_id=client_id, **values, **its_secrets)


async def change(
    db: Connection, client_id: str, values: Mapping[str, Any], its_secrets: Mapping[str, Any]
) -> None:
    """Change a client, whose row the caller has locked. Takes and raises what `insert` does."""
    await db.rows(_change, client_id=client_id, **values, **its_secrets)


async def lock(db: Connection, client_id: str) -> Row | None:
    """Find a client, and keep others from changing it until the end of the transaction."""
    return await db.row(_lock, client_id=client_id)


async def lock_all(db: Connection) -> list[Row]:
    """Return all clients by id, and keep others from changing them until the end of the transaction."""
    return await db.rows(_locked)


async def listed(db: Connection) -> list[Row]:
    """Return all clients by id."""
    return await db.rows(_all)


async def by_id(db: Connection, client_id: str) -> Row | None:
    """Find a client."""
    return await db.row(_by_id, client_id=client_id)


async def disable(db: Connection, client_id: str) -> int | None:
    """Disable a client and raise its epoch; return it, or None if there is nothing to disable."""
    row = await db.row(_disable, client_id=client_id)
    return None if row is None else row["epoch"]


async def enable(db: Connection, client_id: str) -> int | None:
    """Enable a client; return its epoch, or None if there is nothing to enable."""
    row = await db.row(_enable, client_id=client_id)
    return None if row is None else row["epoch"]


async def leap(db: Connection, leap: int) -> list[Row]:
    """Raise every client's epoch by `leap`; return each one's id, new epoch, and whether it is disabled."""
    return await db.rows(_leap, leap=leap)


async def add_resource(db: Connection, *, uri: str, scopes: Sequence[str], client_id: str | None) -> None:
    """Insert a resource."""
    await db.rows(_add_resource, uri=uri, scopes=list(scopes), client_id=client_id)


async def resources_listed(db: Connection) -> list[Row]:
    """Return all resources by URI."""
    return await db.rows(_all_resources)


async def change_resource(db: Connection, *, uri: str, scopes: Sequence[str], client_id: str | None) -> None:
    """Change a resource."""
    await db.rows(_change_resource, key=uri, scopes=list(scopes), client_id=client_id)


async def remove_resource(db: Connection, uri: str) -> None:
    """Delete a resource. That no client names it any more is the caller's to see to."""
    await db.rows(_remove_resource, key=uri)
