"""The rules of a session's life as pure functions of (row, time): what the statement in `rotation` must agree with."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from uuid import UUID

Verdict = Literal["rotate", "replay", "reuse", "over"]


@dataclass(frozen=True, slots=True)
class SessionState:
    """What the rules need to know of a session's row."""

    jti: UUID
    previous_jti: UUID | None
    refreshed_at: datetime
    expires_at: datetime
    ended_at: datetime | None


def verdict(state: SessionState, presented: UUID, now: datetime, grace: timedelta) -> Verdict:
    """Say what becomes of a refresh token of this session that is presented now.

    - `rotate`: it is the live one; it is exchanged for a successor
    - `replay`: it is the one before, within the grace period; the same successor is handed out again
    - `reuse`: it was exchanged longer ago; the session must end
    - `over`: the session has ended or expired, whatever the token
    """
    if state.ended_at is not None or state.expires_at <= now:
        return "over"
    if presented == state.jti:
        return "rotate"
    if presented == state.previous_jti and state.refreshed_at > now - grace:
        return "replay"
    return "reuse"
