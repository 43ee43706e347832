"""Memory that a load has left behind, given back to the system.

glibc keeps what was freed between pieces that are still in use, to use it again itself (malloc_trim(3)). After a flood
of connections that is more than what an idle worker needs.
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from pathlib import Path

from service.background import Background

LOOK = 10.0
"""Seconds between two looks."""

WORTH = 12 * 1024 * 1024
"""Bytes above the least that the process has had: for fewer, it is not worth the milliseconds."""


class Memory:
    """This process's memory."""

    def __init__(self) -> None:
        self._trim = _trimming()
        self._background = Background()

    async def start(self) -> None:
        """Look after it until `stop`, where there is something to be done."""
        if self._trim is not None:
            self._background.start(self._follow(self._trim, resident()), "memory")

    async def stop(self) -> None:
        """Stop."""
        await self._background.stop()

    @staticmethod
    async def _follow(trim: Callable[[int], int], least: int) -> None:
        while True:
            await asyncio.sleep(LOOK)
            if resident() > least + WORTH:
                # In a thread: the event loop waits for it only where it allocates at the same moment.
                await asyncio.to_thread(trim, 0)
            least = min(least, resident())


def resident() -> int:
    """Return how many bytes of this process are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _trimming() -> Callable[[int], int] | None:
    try:
        trim: Callable[[int], int] = ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):  # another system, or another library
        return None
    return trim
