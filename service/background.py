"""Tasks that run beside the requests for as long as the service does."""

import asyncio
from collections.abc import Coroutine
from typing import Any


class Background:
    """Holds one task and ends it."""

    def __init__(self) -> None:
        self._task: asyncio.Task[None] | None = None

    def start(self, work: Coroutine[Any, Any, None], name: str) -> None:
        """Run the work until it ends or `stop` is called."""
        self._task = asyncio.create_task(work, name=name)

    async def stop(self) -> None:
        """Cancel the task and wait until it has ended.

        A cancellation can be lost: before Python 3.12, `asyncio.wait_for` swallows one that arrives as its
        answer does, and libraries are built on it. So it is repeated until it is heeded.
        """
        while self._task is not None and not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=0.1)
