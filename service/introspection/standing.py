"""What the record says of a token, for an operator: not only whether it is good, but why."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sealwright import Claims
from service.clients import store as clients
from service.clients.directory import client_of
from service.database import Connection
from service.revocation.explaining import Cause, cause, cause_of_key
from service.sessions import reading
from service.sessions.rules import Verdict, verdict
from service.tokens import Refresh

What = Literal["token", "session", "user", "client", "key"]

_KILLED: dict[str, What] = {
    "jti": "token",
    "sid": "session",
    "sub": "user",
    "client_id": "client",
    "kid": "key",
}


@dataclass(frozen=True, slots=True)
class Revoked:
    """A token is dead, and with it what else was revoked at once."""

    what: What
    reason: str
    at: datetime


@dataclass(frozen=True, slots=True)
class Session:
    """What the row of a refresh token's session makes of it.

    `verdict` None: nothing could save it, because its user or client is disabled or was since.
    """

    verdict: Verdict | None
    generation: int
    refreshed_at: datetime
    over_at: datetime
    end_reason: str | None


async def of_access(db: Connection, token: Claims) -> Revoked | None:
    """Return what revoked an access token; None if nothing did."""
    found = await cause(db, token)
    return None if found is None else _revoked(found)


async def of_refresh(db: Connection, token: Refresh, default_grace: timedelta) -> Revoked | Session | None:
    """Return what becomes of a refresh token that is presented now; None if its session is not known."""
    if (compromise := await cause_of_key(db, token.kid)) is not None:
        return _revoked(compromise)
    story = await reading.story(db, token.session_id)
    if story is None or story["client_id"] != token.client_id:
        return None
    client = await clients.by_id(db, token.client_id)
    row = await reading.state(db, token.session_id, token.client_id)
    decided: Verdict | None = None
    if row is not None and client is not None:
        grace = client_of(client).grace(default_grace)
        decided = verdict(reading.session_state(row), token.jti, row["now"], grace)
    elif story["ended_at"] is not None:
        decided = "over"
    return Session(
        decided,
        story["generation"],
        story["refreshed_at"],
        story["ended_at"] or story["expires_at"],
        story["end_reason"],
    )


def _revoked(found: Cause) -> Revoked:
    return Revoked(_KILLED[found.kind], found.reason, found.revoked_at)
