"""Looking keys up in Redis at the least cost: the one call that an introspection waits for."""

import asyncio
from collections.abc import Sequence
from typing import cast

from redis import ConnectionError  # noqa: A004  # theirs is no OSError
from redis.asyncio.connection import AbstractConnection, ConnectionPool

MOST = 16
"""Connections of one worker; a look-up beyond that waits for one."""


class Lookups:
    """Lends a connection for one command and its answer.

    A pool of redis-py's looks at a connection before it lends it, counts, and bounds each step by a task or a
    timer of its own: three times the cost of what is asked. Here one timer bounds the whole look-up, and a
    connection that was not read to the end of its answer is never used again.
    """

    def __init__(self, pool: ConnectionPool) -> None:
        """Take a pool for what it knows: how a connection is made, and in what time an answer must be there."""
        self._pool = pool
        self._timeout: float = pool.connection_kwargs["socket_timeout"]
        self._idle: list[AbstractConnection] = []
        self._places = asyncio.Semaphore(MOST)

    async def get(self, keys: Sequence[str]) -> list[str | None]:
        """Return the values of these keys, None for one that is not there.

        A connection may have been cut while it lay idle: then a new one asks.

        Raises:
            redis.RedisError, OSError: Redis is away or too slow.
        """
        async with asyncio.timeout(self._timeout), self._places:
            try:
                return await self._ask(keys)
            except ConnectionError:
                await self.close()
                return await self._ask(keys)

    async def close(self) -> None:
        """Close the connections that lie idle."""
        while self._idle:
            await self._idle.pop().disconnect(nowait=True)

    async def _ask(self, keys: Sequence[str]) -> list[str | None]:
        connection = self._idle.pop() if self._idle else self._new()
        try:
            await connection.send_command("MGET", *keys, check_health=False)
            found = await connection.read_response()
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._idle.append(connection)
        return cast("list[str | None]", found)

    def _new(self) -> AbstractConnection:
        connection: AbstractConnection = self._pool.make_connection()  # type: ignore[no-untyped-call]  # theirs
        connection.socket_timeout = None  # `get` has the one timer
        return connection
