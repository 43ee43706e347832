"""Rotation: exchanging a refresh token for its successor, decided by one statement in one round trip."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, TypeAlias
from uuid import UUID, uuid4

import sqlalchemy as sa

from service.audit import record as audit
from service.database import Database, Row, Statement, TextArray, Time, now
from service.errors import Unavailable
from service.revocation import Revocations
from service.sessions.ending import end_in
from service.sessions.live import Live
from service.sessions.reading import session_state
from service.sessions.rules import verdict
from service.sessions.tables import sessions
from service.users.tables import users


@dataclass(frozen=True, slots=True)
class Presented:
    """A refresh token that proved itself by its signature, and the client that presents it."""

    session_id: UUID
    jti: UUID
    client_id: str
    client_epoch: int
    """In this worker's copy, which may be a moment old: a session of a lower one is over."""
    asked_resources: tuple[str, ...]
    """A session that was not granted all of these is left as it is."""
    allowed_resources: tuple[str, ...]
    """A session that was granted none of these is left as it is: its token would have no audience."""
    grace: timedelta
    arrived: datetime
    """By Postgres's clock: when the request came in."""
    deadline: datetime
    """By Postgres's clock: later than this nothing is done any more."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No token: the session is not there, over, or has just been ended because its token was used again.

    "late_reuse": it was used again by a request that had waited here for too long to tell it from a stuck copy. Nothing
    was done, and the caller may ask again.
    """

    why: Literal["unknown", "over", "user_disabled", "client_changed", "resource", "reuse", "late_reuse"]


Outcome: TypeAlias = Live | Refused

PROMPT = timedelta(seconds=1)
"""A token that is used again ends its session only so soon after the request came in. Who let the client wait longer
was us, and the client may have gone on with another copy of its request, and with what that one brought. A thief is
found when asking again."""

_session_id = sa.bindparam("session_id", type_=sa.Uuid)
_presented = sa.bindparam("jti", type_=sa.Uuid)

# The row as it is once its lock is ours. All that decides reads this copy, so it is evaluated after the
# wait for the lock, clock included: evaluated before, a long wait could make a retry look like theft.
_row = sa.select(sessions).where(sessions.c.id == _session_id).with_for_update().cte("held")
_live = _row.c.jti == _presented
_in_grace = sa.and_(
    _row.c.previous_jti == _presented,
    _row.c.refreshed_at > now() - sa.bindparam("grace", type_=sa.Interval),
)


def _if_live(column: sa.ColumnElement[Any], value: sa.ColumnElement[Any]) -> sa.Case[Any]:
    return sa.case((_live, value), else_=column)


# Of any number of racers one rotates; the others, each waiting for the lock, then find themselves in the
# grace period. `rules.verdict` is the twin of these conditions in Python.
_rotate = Statement(
    sa.update(sessions)
    .values(
        jti=_if_live(_row.c.jti, sa.bindparam("successor", type_=sa.Uuid)),
        previous_jti=_if_live(_row.c.previous_jti, _row.c.jti),
        refreshed_at=_if_live(_row.c.refreshed_at, now()),
        expires_at=_if_live(
            _row.c.expires_at, sa.func.least(now() + sa.bindparam("idle", type_=sa.Interval), _row.c.ends_at)
        ),
        generation=_row.c.generation + sa.case((_live, 1), else_=0),
        replays=_row.c.replays + sa.case((_live, 0), else_=1),
        replayed_at=sa.case((_live, _row.c.replayed_at), else_=now()),
    )
    .where(
        sessions.c.id == _row.c.id,
        _row.c.client_id == sa.bindparam("client_id"),
        _row.c.client_epoch >= sa.bindparam("client_epoch", type_=sa.BigInteger),
        _row.c.expires_at > now(),
        sa.or_(_live, _in_grace),
        # One expression with a column in it: a condition of its own, without one, Postgres may try beforehand.
        sa.case(
            (_row.c.ended_at.is_(None), now() < sa.bindparam("deadline", type_=Time)),
            else_=sa.false(),
        ),
        _row.c.resources.contains(sa.bindparam("asked", type_=TextArray)),
        _row.c.resources.overlap(sa.bindparam("allowed", type_=TextArray)),
        users.c.id == _row.c.user_id,
        users.c.disabled_at.is_(None),
    )
    .returning(
        sessions.c.jti,
        sessions.c.generation,
        sessions.c.refreshed_at,
        sessions.c.expires_at,
        sessions.c.started_at,
        sessions.c.amr,
        sessions.c.scopes,
        sessions.c.resources,
        sessions.c.client_epoch,
        sessions.c.user_id,
        users.c.epoch.label("user_epoch"),
        users.c.roles,
    )
)

_locked = Statement(
    sa.select(
        sessions.c.jti,
        sessions.c.previous_jti,
        sessions.c.refreshed_at,
        sessions.c.expires_at,
        sessions.c.ended_at,
        sessions.c.client_id,
        sessions.c.client_epoch,
        sessions.c.resources,
        sessions.c.user_id,
        users.c.disabled_at.label("user_disabled_at"),
    )
    .join(users, users.c.id == sessions.c.user_id)
    .where(sessions.c.id == _session_id)
    .with_for_update(of=sessions)
)

_clock = Statement(sa.select(now()))


async def rotate(
    database: Database,
    revocations: Revocations,
    presented: Presented,
    *,
    idle: timedelta,
    revocation_lifetime: timedelta,
    address: str | None,
    user_agent: str | None,
    hung_up: Callable[[], Awaitable[bool]],
) -> Outcome:
    """Exchange a refresh token, hand out its successor again, or end the session if it was used before.

    Nothing at all is done for a caller that has hung up, nor after the deadline: a copy of a request
    that was stuck somewhere must not be taken for theft when its client has long gone on.

    Raises:
        Unavailable: Postgres is away, or the deadline has passed. The request may be sent again.
    """
    successor = uuid4()
    async with database.connect() as db:
        if await hung_up():
            raise Unavailable("the caller", detail="the caller hung up before its refresh was begun")
        row = await db.row(
            _rotate,
            jti=presented.jti,
            successor=successor,
            idle=idle,
            session_id=presented.session_id,
            client_id=presented.client_id,
            client_epoch=presented.client_epoch,
            grace=presented.grace,
            deadline=presented.deadline,
            asked=presented.asked_resources,
            allowed=presented.allowed_resources,
        )
    if row is not None:
        return _live_session(presented.session_id, row, replayed=row["jti"] != successor)
    return await _refuse(revocations, presented, revocation_lifetime, address, user_agent, hung_up)


def _live_session(session_id: UUID, row: Row, *, replayed: bool) -> Live:
    return Live(
        session_id=session_id,
        jti=row["jti"],
        generation=row["generation"],
        refreshed_at=row["refreshed_at"],
        expires_at=row["expires_at"],
        started_at=row["started_at"],
        amr=tuple(row["amr"]),
        scopes=frozenset(row["scopes"]),
        resources=tuple(row["resources"]),
        client_epoch=row["client_epoch"],
        user_id=row["user_id"],
        user_epoch=row["user_epoch"],
        roles=tuple(row["roles"]),
        replayed=replayed,
    )


async def _refuse(  # noqa: PLR0911  # one for each reason
    revocations: Revocations,
    presented: Presented,
    lifetime: timedelta,
    address: str | None,
    user_agent: str | None,
    hung_up: Callable[[], Awaitable[bool]],
) -> Refused:
    """Find out, with the row locked, why the statement did nothing; on reuse end the session.

    The end is committed here, before the error is answered.
    """
    async with revocations.transaction() as revoking:
        row = await revoking.db.row(_locked, session_id=presented.session_id)
        if row is None or row["client_id"] != presented.client_id:
            return Refused("unknown")
        at = await revoking.db.value(_clock)  # after the wait for the lock
        if at >= presented.deadline or await hung_up():
            raise Unavailable(
                "the service", detail="a refresh was too late for its deadline; nothing was done"
            )
        if row["user_disabled_at"] is not None:
            return Refused("user_disabled")
        if row["client_epoch"] < presented.client_epoch:
            return Refused("client_changed")
        decided = verdict(session_state(row), presented.jti, at, presented.grace)
        granted = set(row["resources"])
        if decided in {"rotate", "replay"} and not (
            granted.issuperset(presented.asked_resources)
            and granted.intersection(presented.allowed_resources)
        ):
            return Refused("resource")
        match decided:
            case "over":
                return Refused("over")
            case "rotate" | "replay":
                # The row changed between the two statements, by a hand other than rotation's.
                raise Unavailable("the session", detail="the session changed during its refresh")
            case "reuse" if at >= presented.arrived + PROMPT:
                return Refused("late_reuse")
            case "reuse":
                await end_in(revoking, presented.session_id, "reuse", lifetime)
                await audit(
                    revoking.db,
                    "session.reuse",
                    user_id=row["user_id"],
                    client_id=presented.client_id,
                    session_id=presented.session_id,
                    address=address,
                    user_agent=user_agent,
                    detail="the token before" if presented.jti == row["previous_jti"] else "an older token",
                )
                return Refused("reuse")
