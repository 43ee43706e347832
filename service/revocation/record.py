"""The record in Postgres: revocations numbered in the order in which they commit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from service.database import Connection, Statement, TextArray, deleting_over, now
from service.revocation.entries import Kill, Kind, Revocation
from service.revocation.tables import revocation_head, revocations


@dataclass(frozen=True, slots=True)
class Head:
    """How far the record has come, and Postgres's clock when it said so."""

    timeline: UUID
    number: int
    at: datetime


@dataclass(frozen=True, slots=True)
class Numbered:
    """A revocation as the record has it, with the milliseconds that it is still in force."""

    number: int
    kind: Kind
    subject: str
    epoch: int | None
    ttl_ms: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A revocation as it is told to others."""

    number: int
    kind: Kind
    subject: str
    epoch: int | None
    reason: str
    expires_at: datetime


_head = Statement(sa.select(revocation_head.c.timeline, revocation_head.c.number, now().label("at")))

_renew = Statement(
    sa.update(revocation_head)
    .values(timeline=sa.func.gen_random_uuid())
    .where(
        revocation_head.c.timeline == sa.bindparam("timeline"),
        revocation_head.c.number < sa.bindparam("number"),
    )
    .returning(revocation_head.c.timeline)
)

_begin_timeline = Statement(
    sa.update(revocation_head).values(timeline=sa.func.gen_random_uuid()).returning(now())
)

_ttl_ms = (sa.extract("epoch", revocations.c.expires_at - now()) * 1000).cast(sa.BigInteger).label("ttl_ms")

# Text alone: of any other array, asyncpg asks Postgres what it is made of, on each new connection, here under the lock.
_new = (
    sa.func.unnest(
        sa.bindparam("kinds", type_=TextArray),
        sa.bindparam("subjects", type_=TextArray),
        sa.bindparam("epochs", type_=TextArray),
        sa.bindparam("reasons", type_=TextArray),
        sa.bindparam("lifetimes", type_=TextArray),
    )
    .table_valued("kind", "subject", "epoch", "reason", "lifetime", with_ordinality="place")
    .render_derived()
)
# The head's row lock is held until the commit: numbers appear in their own order, without a gap. All other revokers
# wait for it meanwhile, so it is taken by the same statement that does the work.
_advanced = (
    sa.update(revocation_head)
    .values(number=revocation_head.c.number + sa.bindparam("count", type_=sa.BigInteger))
    .returning(revocation_head.c.number)
    .cte("head")
)
_number = _advanced.c.number - sa.bindparam("count", type_=sa.BigInteger) + _new.c.place
_insert = insert(revocations).from_select(
    ["number", "kind", "subject", "epoch", "reason", "expires_at"],
    sa.select(
        _number,
        _new.c.kind,
        _new.c.subject,
        _new.c.epoch.cast(sa.BigInteger),
        _new.c.reason,
        now() + _new.c.lifetime.cast(sa.Interval),
    ).join_from(_advanced, _new, sa.true()),
)
# One row a subject: the newest says what holds, and must outlive what the older would have killed.
_put = Statement(
    _insert.on_conflict_do_update(
        index_elements=["kind", "subject"],
        set_={
            "number": _insert.excluded.number,
            "epoch": _insert.excluded.epoch,
            "reason": _insert.excluded.reason,
            "revoked_at": now(),
            "expires_at": sa.func.greatest(revocations.c.expires_at, _insert.excluded.expires_at),
        },
    ).returning(revocations.c.number, _ttl_ms)
)

_in_force = sa.select(
    revocations.c.number,
    revocations.c.kind,
    revocations.c.subject,
    revocations.c.epoch,
    _ttl_ms,
).where(revocations.c.expires_at > now())
_count = Statement(
    sa.select(sa.func.count()).select_from(revocations).where(revocations.c.expires_at > now())
)
_since = Statement(
    _in_force.where(revocations.c.number > sa.bindparam("number", type_=sa.BigInteger)).order_by(
        revocations.c.number
    )
)
_page = Statement(
    sa.select(
        revocations.c.number,
        revocations.c.kind,
        revocations.c.subject,
        revocations.c.epoch,
        revocations.c.reason,
        revocations.c.expires_at,
    )
    .where(
        revocations.c.number > sa.bindparam("number", type_=sa.BigInteger), revocations.c.expires_at > now()
    )
    .order_by(revocations.c.number)
    .limit(sa.bindparam("limit", type_=sa.Integer))
)

# The subjects that are asked about, as rows to join with.
wanted = (
    sa.func.unnest(sa.bindparam("kinds", type_=TextArray), sa.bindparam("subjects", type_=TextArray))
    .table_valued("kind", "subject")
    .render_derived()
)
_find = Statement(
    sa.select(revocations.c.kind, revocations.c.epoch)
    .join(wanted, sa.and_(revocations.c.kind == wanted.c.kind, revocations.c.subject == wanted.c.subject))
    .where(revocations.c.expires_at > now())
)

_delete_over = deleting_over(revocations.c.number, revocations.c.expires_at)


async def head(db: Connection) -> Head:
    """Look how far the record has come."""
    row = await db.row(_head)
    if row is None:
        raise LookupError("revocation_head is empty; run: sealwright migrate")
    return Head(row["timeline"], row["number"], row["at"])


async def renew(db: Connection, timeline: UUID, number: int) -> bool:
    """Begin a new timeline in a record that has lost numbers up to `number`; False if it has not, or has begun one."""
    return await db.row(_renew, timeline=timeline, number=number) is not None


async def begin_timeline(db: Connection) -> datetime:
    """Begin a new timeline, whatever the record has lost: nothing that was copied from it before counts.

    Return when that was, by Postgres's clock.
    """
    began: datetime = await db.value(_begin_timeline)
    return began


async def append(db: Connection, entries: Sequence[Revocation]) -> list[Numbered]:
    """Write revocations, inside the caller's transaction.

    Call it last: it locks out other revokers until the commit.
    """
    newest = list({(entry.kind, entry.subject): entry for entry in entries}.values())
    rows = await db.rows(
        _put,
        count=len(newest),
        kinds=[entry.kind for entry in newest],
        subjects=[entry.subject for entry in newest],
        epochs=[None if entry.epoch is None else str(entry.epoch) for entry in newest],
        reasons=[entry.reason for entry in newest],
        lifetimes=[f"{entry.lifetime.total_seconds():.6f} s" for entry in newest],
    )
    ttl_ms = {row["number"]: row["ttl_ms"] for row in rows}
    return [
        Numbered(number, entry.kind, entry.subject, entry.epoch, ttl_ms[number])
        for number, entry in zip(sorted(ttl_ms), newest, strict=True)
    ]


async def since(db: Connection, number: int) -> list[Numbered]:
    """Return the revocations in force that were numbered after `number`, in order."""
    return [Numbered(**row) for row in await db.rows(_since, number=number)]


async def page(db: Connection, number: int, limit: int) -> list[Entry]:
    """Return the first revocations in force that were numbered after `number`, in order.

    Pages may be read one after the other without a transaction: what is revoked anew meanwhile gets a number
    that comes later.
    """
    return [Entry(**row) for row in await db.rows(_page, number=number, limit=limit)]


async def find(db: Connection, named: Sequence[tuple[Kind, str]]) -> list[Kill]:
    """Return the revocations in force of these subjects."""
    found = await db.rows(
        _find, kinds=[kind for kind, _ in named], subjects=[subject for _, subject in named]
    )
    return [Kill(row["kind"], row["epoch"]) for row in found]


async def delete_over(db: Connection, batch: int) -> int:
    """Delete revocations whose tokens are all over; return how many."""
    return len(await db.rows(_delete_over, batch=batch))


async def count(db: Connection) -> int:
    """Count what is in force."""
    number: int = await db.value(_count)
    return number
