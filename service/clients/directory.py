"""Clients and resources as every worker has them in memory."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from hashlib import sha256
from types import MappingProxyType

import sqlalchemy as sa

from service.clients.tables import NO_SECRET, clients, resources
from service.database import Connection, Row, Statement

ACCOUNT = "account"
"""The scope of the issuer's own bearer endpoints; every first-party client has it."""

READ_REVOCATIONS = "revocations:read"
"""The scope that lets a token read the revocation feed."""

OWN_SCOPES = frozenset({ACCOUNT, READ_REVOCATIONS})
"""What the issuer understands as a resource: no other may."""


@dataclass(frozen=True, slots=True)
class Client:
    """A program that asks for tokens."""

    id: str
    name: str
    confidential: bool
    """Whether it can keep a secret (RFC 6749 2.1), so that it proves itself."""
    secrets: tuple[bytes, bytes]
    """SHA-256 of the live ones; `NO_SECRET` in a free place."""
    jwks: str | None
    jwks_uri: str | None
    grant_types: frozenset[str]
    first_party: bool
    scopes: frozenset[str]
    default_scopes: frozenset[str]
    resources: frozenset[str]
    default_resources: tuple[str, ...]
    introspect_any: bool
    refresh_grace: timedelta | None
    access_token_lifetime: timedelta | None
    refresh_token_idle: timedelta | None
    session_lifetime: timedelta | None
    origins: frozenset[str]
    epoch: int
    disabled: bool

    def grace(self, default: timedelta) -> timedelta:
        """Return how long the refresh token before the live one still gets the same successor."""
        return default if self.refresh_grace is None else self.refresh_grace

    def proven_as(self, before: "Client") -> bool:
        """Whether what proved the client `before` still would; a secret that was added takes nothing away."""
        return (self.confidential, self.jwks, self.jwks_uri) == (
            before.confidential,
            before.jwks,
            before.jwks_uri,
        ) and set(self.secrets) >= set(before.secrets) - {NO_SECRET}

    def idle(self, most: timedelta) -> timedelta:
        """Return how long a session of it may go without a refresh."""
        return most if self.refresh_token_idle is None else min(self.refresh_token_idle, most)

    def lifetime(self, most: timedelta) -> timedelta:
        """Return how long a session of it may last."""
        return most if self.session_lifetime is None else min(self.session_lifetime, most)

    def has_secret(self, secret: str) -> bool:
        """Whether this is one of its secrets, in constant time."""
        digest = sha256(secret.encode()).digest()
        first, second = self.secrets
        # `|` and not `or`: both are always looked at.
        return hmac.compare_digest(digest, first) | hmac.compare_digest(digest, second)


@dataclass(frozen=True, slots=True)
class Resource:
    """A resource service: a program that accepts access tokens."""

    uri: str
    scopes: frozenset[str]
    client_id: str | None


@dataclass(frozen=True, slots=True)
class Directory:
    """All clients and resources at one moment, the issuer itself among the resources."""

    issuer: str
    clients: Mapping[str, Client]
    resources: Mapping[str, Resource]
    known_scopes: frozenset[str]
    """Every scope that any resource understands."""
    origins: frozenset[str]
    """Every origin where a public client that is enabled runs in browsers."""

    def may_ask(self, client: Client) -> frozenset[str]:
        """Return the audiences that a client may ask for."""
        return client.resources | {self.issuer} if client.first_party else client.resources

    def default_audience(self, client: Client) -> tuple[str, ...]:
        """Return the audience of a client that asks for none."""
        return (self.issuer, *client.default_resources) if client.first_party else client.default_resources

    def understood(self, audience: frozenset[str]) -> frozenset[str]:
        """Return the scopes that mean something to any of these resources."""
        return frozenset().union(*(self.resources[uri].scopes for uri in audience if uri in self.resources))

    def serves(self, client: Client, audience: tuple[str, ...]) -> bool:
        """Whether a client is the one that a resource in this audience introspects as."""
        return any(
            (r := self.resources.get(uri)) is not None and r.client_id == client.id for uri in audience
        )


_clients = Statement(sa.select(clients))
_resources = Statement(sa.select(resources))


def loader(issuer: str) -> Callable[[Connection], Awaitable[Directory]]:
    """Return the function that loads the directory of this issuer."""

    async def load(db: Connection) -> Directory:
        known = {row["id"]: client_of(row) for row in await db.rows(_clients)}
        served = {
            row["uri"]: Resource(row["uri"], frozenset(row["scopes"]), row["client_id"])
            for row in await db.rows(_resources)
        }
        served[issuer] = Resource(issuer, OWN_SCOPES, None)
        scopes = frozenset().union(*(resource.scopes for resource in served.values()))
        origins = frozenset().union(*(client.origins for client in known.values() if not client.disabled))
        return Directory(issuer, MappingProxyType(known), MappingProxyType(served), scopes, origins)

    return load


def client_of(row: Row) -> Client:
    """Read a row of the table."""
    implied = {ACCOUNT} if row["first_party"] else set()
    return Client(
        id=row["id"],
        name=row["name"],
        confidential=row["secret_sha256"] is not None,
        secrets=(row["secret_sha256"] or NO_SECRET, row["second_secret_sha256"] or NO_SECRET),
        jwks=row["jwks"],
        jwks_uri=row["jwks_uri"],
        grant_types=frozenset(row["grant_types"]),
        first_party=row["first_party"],
        scopes=frozenset(row["scopes"]) | implied,
        default_scopes=frozenset(row["default_scopes"]) | implied,
        resources=frozenset(row["resources"]),
        default_resources=tuple(row["default_resources"]),
        introspect_any=row["introspect_any"],
        refresh_grace=row["refresh_grace"],
        access_token_lifetime=row["access_token_lifetime"],
        refresh_token_idle=row["refresh_token_idle"],
        session_lifetime=row["session_lifetime"],
        origins=frozenset(row["origins"]),
        epoch=row["epoch"],
        disabled=row["disabled_at"] is not None,
    )
