"""How many passwords of one account from one address are looked at at once."""

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from service.errors import Shedding, Unavailable
from service.settings import Settings


class _Way:
    def __init__(self, wide: int) -> None:
        self.slots = asyncio.Semaphore(wide)
        self.there = 0


class Gate:
    """Lets a few through at a time for each key; the next is told what became of those before.

    Many guesses sent at the same moment would otherwise all find that nothing has failed yet.
    """

    def __init__(self, settings: Settings) -> None:
        # More at once would only wait for the threads that hash.
        self._at_once = settings.password_threads
        self._most = settings.password_threads + settings.password_queue
        self._patience = settings.password_wait.total_seconds()
        self._ways: dict[str, _Way] = {}
        self._shedding = Shedding()

    @asynccontextmanager
    async def passed(self, key: str) -> AsyncIterator[None]:
        """Pass, once there is room.

        Raises:
            Unavailable: too many are waiting, or there was none for as long as a sign-in may wait.
        """
        way = self._ways.setdefault(key, _Way(self._at_once))
        if way.there >= self._most:
            raise self._too_many()
        way.there += 1
        try:
            try:
                async with asyncio.timeout(self._patience):
                    await way.slots.acquire()
            except TimeoutError:
                raise self._too_many() from None
            try:
                yield
            finally:
                way.slots.release()
        finally:
            way.there -= 1
            if not way.there:
                del self._ways[key]

    def _too_many(self) -> Unavailable:
        return Unavailable(
            "the sign-in",
            detail="too many at once of one account from one address",
            told=self._shedding.is_due(),
            retry_after=math.ceil(self._patience),
        )
