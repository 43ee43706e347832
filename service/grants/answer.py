"""The answer of a grant (RFC 6749 5.1), and the parts that every grant draws on."""

import time
from dataclasses import dataclass

from service import logs
from service.audit import Failures
from service.catalog import LiveCopy
from service.clients.authentication import Authenticator
from service.clients.directory import Client, Directory
from service.database import Database
from service.guessing import Guesses
from service.metrics import Metrics
from service.revocation import Revocations
from service.sessions.live import Live
from service.settings import Settings
from service.tokens import Access, Minter, TokenReader
from service.users.passwords import Passwords
from service.users.roles import Roles


@dataclass(frozen=True, slots=True)
class Parts:
    """What the grants are made of."""

    settings: Settings
    database: Database
    revocations: Revocations
    directory: LiveCopy[Directory]
    authenticator: Authenticator
    roles: LiveCopy[Roles]
    passwords: Passwords
    minter: Minter
    reader: TokenReader
    failures: Failures
    guesses: Guesses
    metrics: Metrics


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


def session_answer(
    parts: Parts, client: Client, session: Live, audience: tuple[str, ...], scope: frozenset[str]
) -> dict[str, object]:
    """Mint the tokens of a session: a fresh access token and, if the client may refresh, the live refresh token."""
    now = time.time()
    sid = str(session.session_id)
    logs.bind(sid=sid)
    access = Access(
        sub=str(session.user_id),
        client_id=client.id,
        client_epoch=session.client_epoch,
        audience=audience,
        scope=scope,
        roles=session.roles,
        sid=sid,
        auth_time=int(session.started_at.timestamp()),
        amr=session.amr,
        user_epoch=session.user_epoch,
    )
    refresh_token = None
    if "refresh_token" in client.grant_types:
        refresh_token = parts.minter.refresh_token(
            user_id=session.user_id,
            client_id=client.id,
            session_id=session.session_id,
            jti=session.jti,
            scope=session.scopes,
            made_at=session.refreshed_at,
            expires_at=session.expires_at,
            now=now,
        )
    lifetime = parts.minter.lifetime(client.access_token_lifetime)
    return token_answer(parts.minter.access_token(access, now, lifetime), lifetime, scope, refresh_token)
