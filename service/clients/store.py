"""Client and resource rows: added, changed, listed."""

import re
import secrets
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from hashlib import sha256

import sqlalchemy as sa

from service.clients.tables import NO_SECRET, clients, resources
from service.database import Connection, Row, Statement, now

GRANT_TYPES = ("password", "client_credentials", "refresh_token")

_add = Statement(
    sa.insert(clients).values(
        **{
            name: sa.bindparam(name)
            for name in (
                "id",
                "name",
                "secret_sha256",
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
        }
    )
)
_all = Statement(sa.select(clients).order_by(clients.c.id))
_by_id = Statement(sa.select(clients).where(clients.c.id == sa.bindparam("client_id")))
_epoch_raised = sa.update(clients).where(clients.c.id == sa.bindparam("client_id")).returning(clients.c.epoch)
_disable = Statement(
    _epoch_raised.values(epoch=clients.c.epoch + 1, disabled_at=now()).where(clients.c.disabled_at.is_(None))
)
_enable = Statement(_epoch_raised.values(disabled_at=None).where(clients.c.disabled_at.is_not(None)))
_add_resource = Statement(
    sa.insert(resources).values(
        uri=sa.bindparam("uri"), scopes=sa.bindparam("scopes"), client_id=sa.bindparam("client_id")
    )
)
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
    body = secrets.token_urlsafe(32)
    return f"swcs_{body}_{zlib.crc32(body.encode()):08x}"


def digest(secret: str) -> bytes:
    """Return what is stored of a secret. It has 256 random bits, so no slow hash is needed."""
    return sha256(secret.encode()).digest()


def is_user_id(client_id: str) -> bool:
    """Whether a client_id has the form of a user's id, which none may have (RFC 9700 4.15)."""
    return re.fullmatch(r"(?i)[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", client_id) is not None


async def add(db: Connection, new: NewClient) -> None:
    """Insert a client. What the table's constraints refuse is an `asyncpg` error."""
    await db.rows(
        _add,
        id=new.client_id,
        name=new.name,
        secret_sha256=digest(new.secret) if new.secret is not None else NO_SECRET if new.has_keys else None,
        grant_types=list(new.grant_types),
        first_party=new.first_party,
        scopes=list(new.scopes),
        default_scopes=list(new.default_scopes),
        resources=list(new.resources),
        default_resources=list(new.default_resources),
        introspect_any=new.introspect_any,
        refresh_grace=new.refresh_grace,
        access_token_lifetime=new.access_token_lifetime,
        refresh_token_idle=new.refresh_token_idle,
        session_lifetime=new.session_lifetime,
        jwks=new.jwks,
        jwks_uri=new.jwks_uri,
        origins=list(new.origins),
    )


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


async def add_resource(db: Connection, *, uri: str, scopes: Sequence[str], client_id: str | None) -> None:
    """Insert a resource."""
    await db.rows(_add_resource, uri=uri, scopes=list(scopes), client_id=client_id)


async def resources_listed(db: Connection) -> list[Row]:
    """Return all resources by URI."""
    return await db.rows(_all_resources)
