"""A session's story, from its row and its audit events: what happened, why it ended, and what to tell its user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from service.cli.words import ago, moment, span
from service.database import Row

State = Literal["alive", "ended", "expired", "shut out", "forgotten"]

_SOON = timedelta(minutes=10)
"""A token that comes back within this, from where it was before, was more likely sent again than copied."""

_AGAIN = "Please sign in again."
_TELL = {
    "logout": "You signed out.",
    "logout_all": "You were signed out because you, or our support for you, signed your account out everywhere.",
    "revoked": f"You were signed out by the application that you were using. {_AGAIN}",
    "password_changed": f"You were signed out because your password was changed from another device. {_AGAIN}",
    "password_reset": "You were signed out because our support set a new password for you. Sign in with that one.",
    "user_disabled": "You were signed out because your account was disabled. Please contact our support.",
    "client_disabled": "You were signed out because the application that you were using was switched off.",
    "administrator": f"You were signed out by our support. {_AGAIN}",
    "restored": f"You were signed out because our service was restored from a backup. {_AGAIN}",
    "reuse": "You were signed out because the proof of your sign-in was used twice, which happens when a connection "
    "breaks, but also when somebody copies it. Please sign in again; if you see sessions that you do not know, "
    "end them and change your password.",
}
_BY = {
    "logout": "its user signed out",
    "logout_all": "all sessions of its user were ended: a logout everywhere",
    "revoked": "its client revoked the refresh token",
    "reuse": "a refresh token was used again that had been exchanged before",
    "password_changed": "its user changed the password in another session",
    "password_reset": "an operator set a new password",
    "user_disabled": "an operator disabled its user",
    "client_disabled": "an operator disabled its client",
    "administrator": "an operator ended it",
    "restored": "the database was restored from a backup",
}


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
        return f"You were signed out because {why}. {_AGAIN}"
    if state == "shut out":
        return _TELL["client_disabled"]
    return _TELL.get(reason or "", f"You were signed out ({(reason or '').replace('_', ' ')}). {_AGAIN}")


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


def told(story: Story, grace: timedelta, now: datetime) -> list[str]:
    """Write the story in paragraphs."""

    def when(at: datetime) -> str:
        return f"{moment(at.timestamp())} ({ago(at.timestamp(), now.timestamp())})"

    lines = [_beginning(story, when)]
    if story.rotations is not None:
        lines.append(_middle(story, grace, when))
    lines.append(_end(story, when))
    if story.reuse is not None:
        lines.append(_cause(story.reuse, grace))
    if story.tell_user:
        lines.append(f"Tell the user: {story.tell_user}")
    return lines


def _beginning(story: Story, when: Any) -> str:
    if story.started_at is None:
        return "Its beginning is not known any more."
    how = "with a password" if "pwd" in story.amr else f"by {' '.join(story.amr) or 'unknown means'}"
    where = f", from {story.address}" if story.address else ""
    program = f', with "{story.user_agent}"' if story.user_agent else ""
    return (
        f"Started {when(story.started_at)}: {story.username or 'a user who is gone'} signed in {how} "
        f"through {story.client_id}{where}{program}."
    )


def _middle(story: Story, grace: timedelta, when: Any) -> str:
    said = "Never refreshed."
    if story.last_rotated_at is not None:
        said = f"Refreshed {_times(story.rotations)}, last {when(story.last_rotated_at)}."
    if story.last_replayed_at is not None:
        said += (
            f" Replayed {_times(story.replays)}, last {when(story.last_replayed_at)}: a token was sent again within "
            f"{span(grace.total_seconds())} of its exchange and got the same successor, as after a lost answer."
        )
    return said


def _end(story: Story, when: Any) -> str:
    match story.state:
        case "alive":
            assert story.good_until is not None
            assert story.ends_at is not None
            return (
                f"Alive: good until {when(story.good_until)} unless it is refreshed before, "
                f"and until {when(story.ends_at)} at most."
            )
        case "expired":
            assert story.good_until is not None
            why = (
                "it was not refreshed for too long"
                if story.good_until != story.ends_at
                else "its time was up"
            )
            return f"Expired {when(story.good_until)}: {why}."
        case "shut out":
            return "Over: its user or client is disabled, or was since it began."
        case "forgotten":
            return (
                "Over, and its row is gone. Nothing ended it: it expired, or its user or client was deleted."
            )
        case "ended":
            assert story.ended_at is not None
            reason = story.end_reason or ""
            by = f" ({story.ended_by})" if story.ended_by else ""
            return f"Ended {when(story.ended_at)}: {_BY.get(reason, reason.replace('_', ' '))}{by}."


def _cause(reuse: Reuse, grace: timedelta) -> str:
    origin = "the sign-in's own address and program" if reuse.same_origin else "another address or program"
    came = f'It came from {origin}: {reuse.address or "unknown"}, "{reuse.user_agent or "unknown"}".'
    after = span(reuse.after.total_seconds())
    if reuse.presented == "the token before":
        which = (
            f"The token had been exchanged {after} before; the grace period is {span(grace.total_seconds())}."
        )
    else:
        which = (
            f"It was an older token: its successor had been exchanged as well, the last one {after} before."
        )
    because = {
        "a late retry": "Likely a client that lost the answer and asked again after the grace period. "
        "Have it retry sooner, or give it a longer one",
        "a copied token": "Likely a copied token: take it for theft until it is explained. A client that was put "
        "back from a backup, or two programs that share one store, look the same",
        "not clear": "Either a client that asked again very late, or a copied token: ask the user",
    }[reuse.likely]
    return f"{which} {came} {because}."


def _times(count: int | None) -> str:
    return "once" if count == 1 else f"{count:,} times"
