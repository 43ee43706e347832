"""Worker processes and their parent."""

import asyncio
import multiprocessing
import os
import signal
from collections.abc import Callable


def end_with_parent() -> Callable[[], None]:
    """End this worker in an orderly way as soon as the process that supervises it is gone.

    A supervisor that was killed cannot end its workers, and they would hold the port for ever.
    Returns the function that stops watching. Does nothing in a process without a supervisor.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return lambda: None
    loop = asyncio.get_running_loop()
    sentinel = parent.sentinel

    def gone() -> None:
        loop.remove_reader(sentinel)
        os.kill(os.getpid(), signal.SIGTERM)

    def stop() -> None:
        loop.remove_reader(sentinel)

    loop.add_reader(sentinel, gone)
    return stop
