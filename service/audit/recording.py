"""Appending events, and deleting those that are too old."""

from collections.abc import Sequence
from contextvars import ContextVar
from datetime import timedelta
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.audit.tables import audit_events
from service.database import Connection, Row, Statement, TextArray, now
from service.logs import request_id

Event = Literal[
    "session.started",
    "session.ended",
    "session.reuse",
    "sign_in.failed",
    "limit.reached",
    "limit.lifted",
    "token.revoked",
    "user.added",
    "user.registered",
    "user.imported",
    "user.updated",
    "user.deleted",
    "user.disabled",
    "user.enabled",
    "user.roles_changed",
    "user.password_changed",
    "user.password_reset",
    "user.signed_out_everywhere",
    "client.added",
    "client.changed",
    "client.secret_added",
    "client.secret_removed",
    "client.disabled",
    "client.enabled",
    "resource.added",
    "resource.changed",
    "resource.removed",
    "role.added",
    "role.changed",
    "role.removed",
    "key.rotated",
    "key.compromised",
    "key.imported",
    "key.moved",
    "record.restored",
]

acting_as: ContextVar[str | None] = ContextVar("acting_as", default=None)
"""Who runs the command that records; each of its events carries it."""

# No caller decides how large a row is.
_LONGEST = {"address": 64, "user_agent": 256, "request_id": 64, "actor": 128, "detail": 512}

_COLUMNS = (
    "event",
    "user_id",
    "client_id",
    "session_id",
    "address",
    "detail",
    "user_agent",
    "request_id",
    "actor",
    "times",
)
_record = Statement(sa.insert(audit_events).values({name: sa.bindparam(name) for name in _COLUMNS}))
_ended = (
    sa.func.unnest(
        sa.bindparam("session_ids", type_=ARRAY(sa.Uuid)),
        sa.bindparam("user_ids", type_=ARRAY(sa.Uuid)),
        sa.bindparam("client_ids", type_=TextArray),
    )
    .table_valued("session_id", "user_id", "client_id")
    .render_derived()
)
_record_ends = Statement(
    sa.insert(audit_events).from_select(
        ["event", "user_id", "client_id", "session_id", "detail", "actor", "request_id"],
        sa.select(
            sa.literal("session.ended"),
            _ended.c.user_id,
            _ended.c.client_id,
            _ended.c.session_id,
            sa.bindparam("detail", type_=sa.Text),
            sa.bindparam("actor", type_=sa.Text),
            sa.bindparam("request_id", type_=sa.Text),
        ),
    )
)

_record_all = Statement(
    sa.insert(audit_events).from_select(
        ["event", "user_id", "actor", "request_id"],
        sa.select(
            sa.bindparam("event", type_=sa.Text),
            sa.func.unnest(sa.bindparam("user_ids", type_=ARRAY(sa.Uuid))),
            sa.bindparam("actor", type_=sa.Text),
            sa.bindparam("request_id", type_=sa.Text),
        ),
    )
)

# The oldest rows by id are the oldest by time, near enough; so no index on the time is needed.
_oldest = (
    sa.select(audit_events.c.id, audit_events.c.at)
    .order_by(audit_events.c.id)
    .limit(sa.bindparam("batch", type_=sa.Integer))
    .cte("oldest")
)
_over = (
    sa.select(audit_events.c.id)
    .join(_oldest, _oldest.c.id == audit_events.c.id)
    .where(_oldest.c.at < now() - sa.bindparam("retention", type_=sa.Interval))
    .with_for_update(of=audit_events, skip_locked=True)
)
_delete_over = Statement(
    sa.delete(audit_events).where(audit_events.c.id.in_(_over)).returning(audit_events.c.id)
)


async def record(
    db: Connection,
    event: Event,
    *,
    user_id: UUID | None = None,
    client_id: str | None = None,
    session_id: UUID | None = None,
    address: str | None = None,
    detail: str | None = None,
    user_agent: str | None = None,
    times: int = 1,
) -> None:
    """Append an event, which may tell of something that happened several times.

    Call it inside the transaction that makes it true. Text that is too long is cut.
    """
    await db.rows(
        _record,
        event=event,
        user_id=user_id,
        client_id=client_id,
        session_id=session_id,
        address=_cut("address", address),
        detail=_cut("detail", detail),
        user_agent=_cut("user_agent", user_agent),
        request_id=_cut("request_id", request_id()),
        actor=_cut("actor", acting_as.get()),
        times=times,
    )


async def record_all(db: Connection, event: Event, user_ids: Sequence[UUID]) -> None:
    """Append the same event for many users."""
    if user_ids:
        await db.rows(
            _record_all,
            event=event,
            user_ids=user_ids,
            actor=_cut("actor", acting_as.get()),
            request_id=_cut("request_id", request_id()),
        )


async def record_ends(db: Connection, sessions: Sequence[Row], detail: str) -> None:
    """Append `session.ended` for many sessions, each with its id, `user_id` and `client_id`."""
    await db.rows(
        _record_ends,
        session_ids=[session["id"] for session in sessions],
        user_ids=[session["user_id"] for session in sessions],
        client_ids=[session["client_id"] for session in sessions],
        detail=detail,
        actor=_cut("actor", acting_as.get()),
        request_id=_cut("request_id", request_id()),
    )


async def delete_over(db: Connection, retention: timedelta, batch: int) -> int:
    """Delete events older than `retention`, the oldest first; return how many."""
    return len(await db.rows(_delete_over, retention=retention, batch=batch))


def _cut(name: str, text: str | None) -> str | None:
    return text and text[: _LONGEST[name]]
