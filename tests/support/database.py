"""Looking at the database past the service, and holding its rows so that a race has to happen."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import asyncpg

PATIENCE = 10.0


async def fetch(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """Run one statement on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        rows: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
        return rows
    finally:
        await connection.close()


def sql(url: str, statement: str, *arguments: object) -> list[asyncpg.Record]:
    """As `fetch`, from code without an event loop."""
    return asyncio.run(fetch(url, statement, *arguments))


@asynccontextmanager
async def held(url: str, statement: str, *arguments: object) -> AsyncIterator[Callable[[], Any]]:
    """Keep the rows that a `SELECT … FOR UPDATE` locks until the yielded function is awaited, or the end."""
    connection = await asyncpg.connect(url)
    transaction = connection.transaction()
    await transaction.start()
    try:
        assert await connection.fetch(statement, *arguments), "nothing to hold"
        yield transaction.rollback
    finally:
        await connection.close()


async def until_waiting(url: str, count: int) -> None:
    """Wait until so many connections of this database are waiting for a lock."""
    await until(
        lambda: fetch(
            url,
            "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'",
        ),
        lambda rows: len(rows) >= count,
        f"{count} connections waiting for a lock",
    )


async def until(
    look: Callable[[], Any], enough: Callable[[Any], bool], what: str, *, within: float = PATIENCE
) -> Any:
    """Look again and again, with a bound, until it is enough; return what was seen."""
    deadline = time.monotonic() + within
    while True:
        seen = await look()
        if enough(seen):
            return seen
        assert time.monotonic() < deadline, f"not within {within} s: {what}; last seen: {seen}"
        await asyncio.sleep(0.02)
