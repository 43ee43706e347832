"""Tasks that run beside the requests for as long as the service does."""

import asyncio
import contextlib
import logging
from collections.abc import Coroutine
from typing import Any

log = logging.getLogger("sealwright")


class Background:
    """Holds one task and ends it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run the work until it ends or `stop` is called."""
        self._task = asyncio.create_task(work, name=name)
        self._task.add_done_callback(_tell)

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended.

        A cancellation can be lost: before Python 3.12, `asyncio.wait_for` swallows one that arrives as its
        answer does, and libraries are built on it. So it is repeated until it is heeded.
        """
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)


async def woken(wake: asyncio.Event, within: float) -> None:
    """Wait until somebody sets the event, so many seconds at most, and make it ready for the next time."""
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(wake.wait(), within)
    wake.clear()


def _tell(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("%s has ended for ever; restart this worker", task.get_name(), exc_info=error)
