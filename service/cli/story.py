"""A session's story, from its row and its audit events: what happened, why it ended, and what to tell its user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.cli.reasons import AGAIN, WORDS, said
from service.database import Row

State = Literal["alive", "ended", "expired", "shut out", "forgotten"]

_SOON = timedelta(minutes=10)
"""A token that comes back within this, from where it was before, was more likely sent again than copied."""


@dataclass(frozen=True, slots=True)
class Reuse:
    """A refresh token was presented that had been exchanged before, and which cause that speaks for."""

    at: datetime
    presented: str
    """`the token before` the live one, or `an older token`."""
    after: timedelta
    """Since the live token was made: for the token before, since it was exchanged."""
    address: str | None
    user_agent: str | None
    same_origin: bool
    likely: Literal["a late retry", "a copied token", "not clear"]


@dataclass(frozen=True, slots=True)
class Story:
    """What can be told of a session. Of one whose row is gone, only what the audit events say."""

    sid: str
    state: State
    username: str | None
    client_id: str | None
    started_at: datetime | None
    amr: Sequence[str]
    address: str | None
    user_agent: str | None
    rotations: int | None
    last_rotated_at: datetime | None
    replays: int | None
    last_replayed_at: datetime | None
    good_until: datetime | None
    """While it is alive: unless it is refreshed before. Of an expired one: when that was."""
    ends_at: datetime | None
    ended_at: datetime | None
    end_reason: str | None
    ended_by: str | None
    """The operator, or the address."""
    reuse: Reuse | None
    tell_user: str | None


def of_row(row: Row, events: Sequence[Row], grace: timedelta, now: datetime) -> Story:
    """Tell the story of a session whose row is there."""
    ended, reuse = _named(events, "session.ended"), _named(events, "session.reuse")
    state: State = "alive"
    if row["ended_at"] is not None:
        state = "ended"
    elif row["expires_at"] <= now:
        state = "expired"
    elif not row["alive"]:
        state = "shut out"
    return Story(
        sid=str(row["sid"]),
        state=state,
        username=row["username"],
        client_id=row["client_id"],
        started_at=row["started_at"],
        amr=row["amr"],
        address=row["address"],
        user_agent=row["user_agent"],
        rotations=row["generation"],
        last_rotated_at=row["refreshed_at"] if row["generation"] else None,
        replays=row["replays"],
        last_replayed_at=row["replayed_at"],
        good_until=row["expires_at"],
        ends_at=row["ends_at"],
        ended_at=row["ended_at"],
        end_reason=row["end_reason"],
        ended_by=_who(ended),
        reuse=reuse_of(dict(reuse), dict(row), grace) if reuse else None,
        tell_user=_tell(state, row["end_reason"], idle=row["expires_at"] < row["ends_at"]),
    )


def of_events(sid: str, events: Sequence[Row], username: str | None) -> Story:
    """Tell what the audit events still say of a session whose row is gone."""
    started, ended = _named(events, "session.started"), _named(events, "session.ended")
    told = started or events[0]
    return Story(
        sid=sid,
        state="forgotten" if ended is None else "ended",
        username=username,
        client_id=told["client_id"],
        started_at=started["at"] if started else None,
        amr=(started["detail"] or "").split() if started else (),
        address=started["address"] if started else None,
        user_agent=started["user_agent"] if started else None,
        rotations=None,
        last_rotated_at=None,
        replays=None,
        last_replayed_at=None,
        good_until=None,
        ends_at=None,
        ended_at=ended["at"] if ended else None,
        end_reason=ended["detail"] if ended else None,
        ended_by=_who(ended),
        reuse=None,
        tell_user=_tell("ended", ended["detail"], idle=False) if ended else None,
    )


def _named(events: Sequence[Row], name: str) -> Row | None:
    return next((event for event in events if event["event"] == name), None)


def _who(event: Row | None) -> str | None:
    return event["actor"] or event["address"] if event else None


def _tell(state: State, reason: str | None, *, idle: bool) -> str | None:
    if state == "alive":
        return None
    if state == "expired":
        why = "you had not used it for a long time" if idle else "every sign-in ends after a while"
        return f"You were signed out because {why}. {AGAIN}"
    if state == "shut out":
        return WORDS["client_disabled"].tell
    return said(reason).tell


def reuse_of(event: Mapping[str, Any], row: Mapping[str, Any], grace: timedelta) -> Reuse:
    """Weigh what speaks for a copied token, and what for a client that asked again too late."""
    after = event["at"] - row["refreshed_at"]
    same = (event["address"], event["user_agent"]) == (row["address"], row["user_agent"])
    likely: Literal["a late retry", "a copied token", "not clear"] = "not clear"
    if event["detail"] != "the token before":
        likely = "a copied token"
    elif same and after < grace + _SOON:
        likely = "a late retry"
    elif not same:
        likely = "a copied token"
    return Reuse(
        event["at"],
        event["detail"],
        after,
        event["address"],
        event["user_agent"],
        same_origin=same,
        likely=likely,
    )
