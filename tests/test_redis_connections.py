"""A connection that broke while it lay idle is told as a lost one, on the loop that we serve with."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
import uvloop
from redis import ConnectionError  # noqa: A004  # theirs is no OSError
from redis.asyncio import Redis

from service import redis_connections
from service.revocation.lookups import Lookups

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def anyio_backend() -> tuple[str, dict[str, Any]]:
    return "asyncio", {"loop_factory": uvloop.new_event_loop}


@pytest.fixture
async def redis(server_urls: tuple[str, str]) -> AsyncIterator[Redis]:
    pool = redis_connections.pool(server_urls[1], most=1, timeout=timedelta(seconds=5), decode_responses=True)
    async with Redis.from_pool(pool) as made:
        yield made


async def break_off(connection: Any) -> None:
    connection._writer.transport.abort()  # noqa: SLF001
    await asyncio.sleep(0.01)  # the loop closes it; nobody else looks


async def test_a_command_over_a_broken_connection_finds_it_lost(redis: Redis) -> None:
    connection = await redis.connection_pool.get_connection()  # type: ignore[no-untyped-call]  # theirs
    await break_off(connection)

    with pytest.raises(ConnectionError):
        await connection.send_command("PING")


async def test_a_look_up_over_a_broken_connection_takes_another(redis: Redis) -> None:
    lookups = Lookups(redis.connection_pool)
    assert await lookups.get(["nothing"]) == [None]
    await break_off(lookups._idle[0])  # noqa: SLF001

    assert await lookups.get(["nothing"]) == [None]
    await lookups.close()
