"""Reading events: the last ones that match, and whatever comes after them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.audit.tables import audit_events
from service.database import Connection, Database, Row, Statement, now


@dataclass(frozen=True, slots=True)
class Filter:
    """Which events are wanted; None: whatever it is."""

    user_id: UUID | None = None
    client_id: str | None = None
    session_id: UUID | None = None
    event: str | None = None
    """One event, or with a dot at its end all that begin so: `session.`."""
    since: timedelta | None = None

    def condition(self) -> sa.ColumnElement[bool]:
        """Return what holds for the wanted events."""
        columns = audit_events.c
        conditions = [
            column == value
            for column, value in (
                (columns.user_id, self.user_id),
                (columns.client_id, self.client_id),
                (columns.session_id, self.session_id),
            )
            if value is not None
        ]
        if self.event is not None:
            whole = not self.event.endswith(".")
            conditions.append(
                columns.event == self.event
                if whole
                else columns.event.startswith(self.event, autoescape=True)
            )
        if self.since is not None:
            conditions.append(columns.at >= now() - sa.literal(self.since, sa.Interval))
        return sa.and_(sa.true(), *conditions)


async def last(db: Connection, wanted: Filter, limit: int) -> list[Row]:
    """Return the last events that are wanted, the newest last."""
    newest = sa.select(audit_events).where(wanted.condition()).order_by(audit_events.c.id.desc()).limit(limit)
    return (await db.rows(Statement(newest)))[::-1]


_LOOK_BACK = 1000
"""Ids before the last one among which a follower looks, at its start, for transactions under way."""

_gaps = sa.bindparam("gaps", type_=ARRAY(sa.BigInteger))
_newest = Statement(sa.select(sa.func.coalesce(sa.func.max(audit_events.c.id), 0)))
# An INSERT has this lock before it draws an id, and keeps it until its transaction is over.
_writers = Statement(
    sa.text(
        "SELECT DISTINCT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND granted"
        " AND relation = CAST('audit_events' AS regclass) AND mode = 'RowExclusiveLock'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
)


class Follower:
    """Sees each event once, though ids become visible in another order than that in which they were drawn.

    An id that is missing below one that is there may belong to a transaction under way. It is looked for until
    all transactions that could have drawn it have ended: then it is there, or will never be.
    """

    def __init__(self, database: Database, wanted: Filter) -> None:
        self._database = database
        self._news = Statement(
            sa.select(audit_events, wanted.condition().label("wanted"))
            .where(
                sa.or_(
                    audit_events.c.id > sa.bindparam("last", type_=sa.BigInteger),
                    audit_events.c.id == sa.any_(_gaps),
                )
            )
            .order_by(audit_events.c.id)
        )
        self._last = 0
        self._gaps: dict[int, frozenset[str]] = {}
        """Ids that may still come, each with the transactions that could bring it."""
        self._writers: frozenset[str] = frozenset()

    @property
    def waits(self) -> bool:
        """Whether there is an id below those seen that may still come."""
        return bool(self._gaps)

    async def start(self, wanted: Filter, limit: int) -> list[Row]:
        """Return the last events that are wanted; `news` has those that become visible after them.

        Raises:
            Unavailable: Postgres is away.
        """
        async with self._database.transaction(snapshot=True) as db:
            self._last = max(0, await db.value(_newest) - _LOOK_BACK)
            shown = await last(db, wanted, limit)
            await self._look(db)
        return shown

    async def news(self) -> list[Row]:
        """Return the wanted events that have become visible since, in the order of their ids. Raises as `start`."""
        async with self._database.connect() as db:
            return [row for row in await self._look(db) if row["wanted"]]

    async def _look(self, db: Connection) -> Sequence[Row]:
        rows = await db.rows(self._news, last=self._last, gaps=list(self._gaps))
        writers = frozenset(row["virtualtransaction"] for row in await db.rows(_writers))
        # Nothing is forgotten before both have answered: after a failure the same is asked again.
        ids = {row["id"] for row in rows}
        gone = {id_ for id_, could in self._gaps.items() if could.isdisjoint(self._writers)}
        self._gaps = {id_: could for id_, could in self._gaps.items() if id_ not in ids | gone}
        if ids and (newest := max(ids)) > self._last:
            self._gaps |= dict.fromkeys(set(range(self._last + 1, newest)) - ids, writers)
            self._last = newest
        self._writers = writers
        return rows
