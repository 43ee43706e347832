"""Connections to Postgres are kept at hand, and neither a broken one nor a busy one is handed out."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
import sqlalchemy as sa

from service import database as module
from service.database import Connection, Database, Statement
from tests.support.database import fetch, until

pytestmark = pytest.mark.anyio

_PID = Statement(sa.select(sa.func.pg_backend_pid()))
_SLEEP = Statement(sa.select(sa.func.pg_sleep(sa.bindparam("seconds", type_=sa.Float))))


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    made = Database(empty_database, size=2, timeout=timedelta(seconds=10))
    await made.open()
    yield made
    await made.close()


async def pid(db: Connection) -> int:
    return int(await db.value(_PID))


async def test_a_connection_given_back_is_the_next_one_lent(database: Database) -> None:
    async with database.connect() as db:
        first = await pid(db)
    async with database.connect() as db:
        assert await pid(db) == first
    assert database.connections() == (0, 1)


async def test_one_that_broke_while_it_lay_at_hand_is_not_lent(
    database: Database, empty_database: str
) -> None:
    async with database.connect() as db, database.connect() as other:
        broken = {await pid(db), await pid(other)}
    await fetch(
        empty_database, "SELECT pg_terminate_backend(pid) FROM unnest($1::int[]) AS pid", list(broken)
    )
    async with asyncio.timeout(5):
        while not all(module._is_closed(raw) for raw, _ in database._at_hand):  # noqa: ASYNC110, SLF001
            await asyncio.sleep(0.01)

    async with database.connect() as db, database.connect() as other:
        assert not {await pid(db), await pid(other)} & broken


async def test_a_statement_that_was_cut_short_leaves_no_busy_connection(
    database: Database, empty_database: str
) -> None:
    async def sleep() -> None:
        async with database.connect() as db:
            await db.value(_SLEEP, seconds=60)

    sleeping = asyncio.create_task(sleep())
    await until(
        lambda: fetch(
            empty_database,
            "SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()",
        ),
        bool,
        "a statement that sleeps",
    )
    sleeping.cancel()
    with pytest.raises(asyncio.CancelledError):
        await sleeping
    async with asyncio.timeout(5):
        for _ in range(4):
            async with database.connect() as db, database.connect() as other:
                assert await pid(db) != await pid(other)


async def test_who_waits_for_a_connection_gets_the_first_that_is_given_back(empty_database: str) -> None:
    database = Database(empty_database, size=1, timeout=timedelta(seconds=10))
    await database.open()

    async def use() -> int:
        async with database.connect() as db:
            return await pid(db)

    async with asyncio.timeout(8):
        assert len(set(await asyncio.gather(*(use() for _ in range(50))))) == 1
    await database.close()


async def test_what_is_not_used_any_more_goes_back_to_the_pool_which_closes_it(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with database.connect() as db, database.connect() as other:
        await pid(db)
        await pid(other)
    assert len(database._at_hand) == 2  # noqa: SLF001
    monkeypatch.setattr(module, "_AT_HAND", -1.0)
    async with database.connect() as db:
        await pid(db)
    assert len(database._at_hand) == 1  # noqa: SLF001
    assert database.connections() == (0, 2)
