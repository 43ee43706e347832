"""Hearing of other replicas' revocations at once, through Redis.

An announcement is a hint and carries nothing that is believed: whoever hears one looks at the record. So one that is
lost, late or made up costs a moment or a look, and while Redis is away the record is looked at often enough anyway.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from datetime import timedelta

from redis import RedisError
from redis.asyncio import Redis

from service import redis_connections
from service.background import Background
from service.revocation.blocklist import channel

log = logging.getLogger("sealwright")

PAUSE = 0.5
"""Seconds before a lost connection is made again."""

_DOWN = (RedisError, OSError, TimeoutError)


class Announcements:
    """One worker's ear. `heard` is called for each announcement, and whenever one may have been missed."""

    def __init__(self, redis_url: str, namespace: str, timeout: timedelta, heard: Callable[[], None]) -> None:
        # A connection of its own: those of the blocklist are few, and each new one is distrusted.
        self._redis = Redis.from_pool(
            redis_connections.pool(redis_url, most=1, timeout=timeout, socket_keepalive=True)
        )
        self._channel = channel(namespace)
        self._heard = heard
        self._background = Background()

    def start(self) -> None:
        """Listen until `stop`."""
        self._background.start(self._listen(), "announcements")

    async def stop(self) -> None:
        """Stop listening."""
        await self._background.stop()
        with contextlib.suppress(*_DOWN):
            await self._redis.aclose()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as pubsub:
                    await pubsub.subscribe(self._channel)
                    self._heard()
                    async for _ in pubsub.listen():
                        self._heard()
            except _DOWN as error:
                log.debug("announcements: %s", error)
            await asyncio.sleep(PAUSE)
