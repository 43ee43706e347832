"""Workers as forks of the process that supervises them, which has loaded all that they run."""

import signal
import sys
import time
from multiprocessing.context import ForkContext, ForkProcess, SpawnContext
from typing import ClassVar, cast

from uvicorn import _subprocess
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import SIGNALS

from service.worker import Worker

PAUSE = 1.0
"""Seconds before a worker that could not take the place of a dead one is followed by the next."""


class Supervisor(Multiprocess):
    """Starts a worker in a tenth of the time that a fresh interpreter takes, at first and in place of a dead one.

    Where the system's own libraries do not survive a fork (macOS), uvicorn's fresh interpreters stay.
    """

    def init_processes(self) -> None:
        """Start the workers."""
        if sys.platform == "linux":
            Worker.load()
            # uvicorn makes its workers from this, and from nothing that could be given to it.
            _subprocess.spawn = cast("SpawnContext", _Forks())
        super().init_processes()
        _Forked.is_successor = True


class _Forked(ForkProcess):
    """A fork that forgets how its parent takes signals.

    Until the worker's server takes them itself, SIGTERM would go to a queue that nobody reads.
    """

    is_successor: ClassVar[bool] = False
    """Whether it takes the place of a worker that has served."""

    def start(self) -> None:
        self._unblocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            super().start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._unblocked)

    def run(self) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._unblocked)
        try:
            super().run()
        except SystemExit as ended:
            if not self.is_successor or ended.code != STARTUP_FAILURE:
                raise
            # uvicorn would end the whole service. What a successor lacks, Postgres say, was there and comes back.
            time.sleep(PAUSE)
            sys.exit(1)


class _Forks(ForkContext):
    Process = _Forked
