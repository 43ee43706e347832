"""Deleting the rows of sessions that are over, by ranges of the table's pages."""

from datetime import timedelta

import sqlalchemy as sa

from service.database import Connection, Statement, now
from service.sessions.tables import sessions

_pages = Statement(
    sa.select(
        sa.func.pg_relation_size(sa.literal_column("'sessions'::regclass"))
        / sa.cast(sa.func.current_setting(sa.literal_column("'block_size'")), sa.BigInteger)
    )
)

# A range of ctid is read without touching a page outside of it (a TID range scan).
in_pages = sa.text(
    "sessions.ctid >= CAST('(' || CAST(:first AS bigint) || ',0)' AS tid)"
    " AND sessions.ctid < CAST('(' || CAST(:beyond AS bigint) || ',0)' AS tid)"
)
_over = sa.func.coalesce(sessions.c.ended_at, sessions.c.expires_at) < now() - sa.bindparam(
    "retention", type_=sa.Interval
)
_sweep = Statement(
    sa.delete(sessions)
    .where(
        sessions.c.id.in_(sa.select(sessions.c.id).where(in_pages, _over).with_for_update(skip_locked=True))
    )
    .returning(sessions.c.id)
)


async def pages(db: Connection) -> int:
    """Return how many pages the table has."""
    found: int = await db.value(_pages)
    return found


async def sweep(db: Connection, first: int, beyond: int, retention: timedelta) -> int:
    """Delete the rows in pages `first` up to `beyond` whose session has been over for `retention`; return how many."""
    return len(await db.rows(_sweep, first=first, beyond=beyond, retention=retention))
