"""The answer of a grant (RFC 6749 5.1), and the parts that every grant draws on."""

from dataclasses import dataclass

from service.catalog import LiveCopy
from service.clients.directory import Directory
from service.database import Database
from service.revocation import Revocations
from service.settings import Settings
from service.tokens import Minter, TokenReader
from service.users.passwords import Passwords
from service.users.roles import Roles


@dataclass(frozen=True, slots=True)
class Parts:
    """What the grants are made of."""

    settings: Settings
    database: Database
    revocations: Revocations
    directory: LiveCopy[Directory]
    roles: LiveCopy[Roles]
    passwords: Passwords
    minter: Minter
    reader: TokenReader


@dataclass(frozen=True, slots=True)
class Caller:
    """Where a request came from, and when."""

    address: str | None
    user_agent: str | None
    arrived: float
    """By the monotonic clock."""


def token_answer(
    access_token: str, lifetime: int, scope: frozenset[str], refresh_token: str | None = None
) -> dict[str, object]:
    """Return the members of a successful token answer."""
    body: dict[str, object] = {
        "access_token": access_token,
        "token_type": "Bearer",
        "expires_in": lifetime,
        "scope": " ".join(sorted(scope)),
    }
    if refresh_token is not None:
        body["refresh_token"] = refresh_token
    return body
