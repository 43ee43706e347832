"""Security events in Postgres: one vocabulary, append-only, written in the transaction that they tell of."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Literal
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.database import Connection, Statement, TextArray, Time, metadata, now

Event = Literal[
    "session.started",
    "session.ended",
    "session.reuse",
    "token.revoked",
    "user.added",
    "user.disabled",
    "user.enabled",
    "user.roles_changed",
    "user.password_changed",
    "user.password_reset",
    "user.signed_out_everywhere",
    "client.added",
    "client.disabled",
    "client.enabled",
    "resource.added",
    "role.added",
]

audit_events = sa.Table(
    "audit_events",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("at", Time, nullable=False, server_default=sa.func.clock_timestamp()),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("user_id", sa.Uuid, comment="no foreign key: the story outlives the user"),
    sa.Column("client_id", sa.Text),
    sa.Column("session_id", sa.Uuid),
    sa.Column("address", sa.Text),
    sa.Column("detail", sa.Text, comment="a few words; never a token, password or hash"),
)

_record = Statement(
    sa.insert(audit_events).values(
        event=sa.bindparam("event"),
        user_id=sa.bindparam("user_id"),
        client_id=sa.bindparam("client_id"),
        session_id=sa.bindparam("session_id"),
        address=sa.bindparam("address"),
        detail=sa.bindparam("detail"),
    )
)
_ended = (
    sa.func.unnest(
        sa.bindparam("session_ids", type_=ARRAY(sa.Uuid)), sa.bindparam("client_ids", type_=TextArray)
    )
    .table_valued("session_id", "client_id")
    .render_derived()
)
_record_ends = Statement(
    sa.insert(audit_events).from_select(
        ["event", "user_id", "client_id", "session_id", "detail"],
        sa.select(
            sa.literal("session.ended"),
            sa.bindparam("user_id", type_=sa.Uuid),
            _ended.c.client_id,
            _ended.c.session_id,
            sa.bindparam("detail", type_=sa.Text),
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
) -> None:
    """Append an event. Call it inside the transaction that makes it true."""
    await db.rows(
        _record,
        event=event,
        user_id=user_id,
        client_id=client_id,
        session_id=session_id,
        address=address,
        detail=detail,
    )


async def record_ends(
    db: Connection, user_id: UUID, sessions: Sequence[tuple[UUID, str]], detail: str
) -> None:
    """Append `session.ended` for many sessions of a user, each with its client."""
    await db.rows(
        _record_ends,
        user_id=user_id,
        session_ids=[session_id for session_id, _ in sessions],
        client_ids=[client_id for _, client_id in sessions],
        detail=detail,
    )


async def delete_over(db: Connection, retention: timedelta, batch: int) -> int:
    """Delete events older than `retention`, the oldest first; return how many."""
    return len(await db.rows(_delete_over, retention=retention, batch=batch))
