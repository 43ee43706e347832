"""What each worker process says of the keys that it publishes, by Postgres's clock."""

import os
import socket
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from service.database import Connection, Statement, TextArray, now
from service.signing.tables import key_replicas

KEEPER = 0x5EA1_4B45
"""The advisory lock of whoever looks after the ring at the moment."""

_DECLARING = KEEPER + 1


@dataclass(frozen=True, slots=True)
class Replica:
    """A live worker's last report."""

    id: UUID
    host: str
    pid: int
    store: str
    keeps: bool
    kids: frozenset[str]
    seen_at: datetime


_new = insert(key_replicas).values(
    id=sa.bindparam("id", type_=sa.Uuid),
    host=sa.bindparam("host"),
    pid=sa.bindparam("pid", type_=sa.Integer),
    store=sa.bindparam("store"),
    keeps=sa.bindparam("keeps", type_=sa.Boolean),
    kids=sa.bindparam("kids", type_=TextArray),
    seen_at=now(),
)
_report = Statement(
    _new.on_conflict_do_update(
        index_elements=["id"], set_={name: _new.excluded[name] for name in ("keeps", "kids", "seen_at")}
    )
)
_silent_for = now() - sa.bindparam("silence", type_=sa.Interval)
_live = Statement(sa.select(key_replicas).where(key_replicas.c.seen_at > _silent_for))
_forget = Statement(sa.delete(key_replicas).where(key_replicas.c.id == sa.bindparam("id", type_=sa.Uuid)))
_delete_dead = Statement(
    sa.delete(key_replicas).where(key_replicas.c.seen_at < _silent_for).returning(key_replicas.c.id)
)
_try_lock = Statement(sa.select(sa.func.pg_try_advisory_xact_lock(KEEPER)))
_declare = Statement(sa.select(sa.func.pg_advisory_xact_lock(_DECLARING)))


async def report(db: Connection, worker: UUID, *, store: str, keeps: bool, kids: Collection[str]) -> None:
    """Say which keys this worker publishes now."""
    await db.rows(
        _report,
        id=worker,
        host=socket.gethostname(),
        pid=os.getpid(),
        store=store,
        keeps=keeps,
        kids=sorted(kids),
    )


async def live(db: Connection, silence: timedelta) -> list[Replica]:
    """Return the workers that have been heard of since `silence` ago."""
    return [
        Replica(**{**row, "kids": frozenset(row["kids"])}) for row in await db.rows(_live, silence=silence)
    ]


async def forget(db: Connection, worker: UUID) -> None:
    """Strike out a worker that stops: nobody has to wait for it."""
    await db.rows(_forget, id=worker)


async def delete_dead(db: Connection, silence: timedelta) -> int:
    """Delete the reports of workers that have long been silent; return how many."""
    return len(await db.rows(_delete_dead, silence=silence))


async def try_to_keep(db: Connection) -> bool:
    """Become the one who looks after the ring until the transaction ends; False if another is."""
    return bool(await db.value(_try_lock))


async def wait_to_declare(db: Connection) -> None:
    """Be the only one, until the transaction ends, who declares a key compromised."""
    await db.value(_declare)
