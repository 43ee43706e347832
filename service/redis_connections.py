"""Connections to Redis of which a lost one is told as redis-py tells it, whatever the event loop."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from redis import ConnectionError  # noqa: A004  # theirs is no OSError
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff


class _Connection(AbstractConnection):
    """A connection that may be closed before it is used again."""

    async def send_packed_command(
        self,
        command: bytes | str | Iterable[bytes],
        check_health: bool = True,  # noqa: FBT001, FBT002  # as theirs
    ) -> None:
        try:
            await super().send_packed_command(command, check_health)
        except RuntimeError as error:
            # What uvloop says of a connection that is closed; asyncio's own would take it, and fail at the answer.
            raise ConnectionError(str(error)) from error


def pool(
    url: str, *, most: int, timeout: timedelta, again: bool = False, **more: Any
) -> BlockingConnectionPool:
    """Make a pool of `most` connections: whoever needs one more waits for it. Nothing takes longer than `timeout`.

    `again`: what met a connection that was closed is sent once more, even if the server may have done it already; what
    takes too long is not. `more` is redis-py's.
    """
    seconds = timeout.total_seconds()
    made = BlockingConnectionPool.from_url(
        url,
        max_connections=most,
        timeout=seconds,
        socket_timeout=seconds,
        socket_connect_timeout=seconds,
        retry=Retry(NoBackoff(), int(again), supported_errors=(ConnectionError,)),
        **more,
    )
    # The URL has chosen it: TCP, TLS, or a Unix socket.
    kind = made.connection_class
    made.connection_class = type(kind.__name__, (_Connection, kind), {})
    return made
