"""Worker processes and their parent."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable

LOOK = 0.5
"""Seconds between two looks at the parent."""


def end_with_parent() -> Callable[[], None]:
    """End this worker in an orderly way soon after the process that supervises it is gone.

    A supervisor that was killed cannot end its workers, and they would hold the port for ever.
    Returns the function that stops watching. Does nothing in a process without a supervisor.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return lambda: None

    async def watch() -> None:
        # A pipe from the parent would not do: workers that were forked later hold its other end, too.
        while os.getppid() == parent.pid:  # noqa: ASYNC110  # the system has no event for it
            await asyncio.sleep(LOOK)
        os.kill(os.getpid(), signal.SIGTERM)

    watching = asyncio.get_running_loop().create_task(watch())

    def stop() -> None:
        watching.cancel()

    return stop
