"""What stands in Postgres once the run is over."""

from dataclasses import dataclass
from uuid import UUID

import asyncpg


@dataclass(frozen=True, slots=True)
class Session:
    """A session's row."""

    sub: str
    jti: str
    previous_jti: str | None
    generation: int
    end_reason: str | None


@dataclass(frozen=True, slots=True)
class Found:
    """What the history is held against."""

    sessions: dict[str, Session]
    disabled: frozenset[str]
    revoked: frozenset[tuple[str, str]]
    """Kind and subject."""
    audited: frozenset[tuple[str, str]]
    """The event, and the session, the user or the token that it tells of."""


NOTHING = Found({}, frozenset(), frozenset(), frozenset())


async def look(url: str) -> Found:
    """Look at all of it."""
    db = await asyncpg.connect(url)
    try:
        sessions = await db.fetch(
            "SELECT id, user_id, jti, previous_jti, generation, end_reason FROM sessions"
        )
        disabled = await db.fetch("SELECT id FROM users WHERE disabled_at IS NOT NULL")
        revoked = await db.fetch("SELECT kind, subject FROM revocations")
        audited = await db.fetch("SELECT event, session_id, user_id, detail FROM audit_events")
    finally:
        await db.close()
    return Found(
        {
            str(row["id"]): Session(
                str(row["user_id"]),
                str(row["jti"]),
                _text(row["previous_jti"]),
                row["generation"],
                row["end_reason"],
            )
            for row in sessions
        },
        frozenset(str(row["id"]) for row in disabled),
        frozenset((row["kind"], row["subject"]) for row in revoked),
        frozenset((row["event"], _about(row)) for row in audited),
    )


def _about(row: asyncpg.Record) -> str:
    if row["event"] == "token.revoked":
        return str(row["detail"]).split()[1]  # "jti … of sub …"
    return str(row["session_id"] or row["user_id"])


def _text(value: UUID | None) -> str | None:
    return None if value is None else str(value)
