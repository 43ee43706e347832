"""Passwords: hashed with Argon2id in a small pool of threads of its own, so that nothing else is starved by it."""

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from pwdlib.hashers.argon2 import Argon2Hasher

from service.errors import Unavailable
from service.metrics import Metrics
from service.settings import Settings
from service.users.hashes import Argon2, UnusableHash, matches, parse

T = TypeVar("T")

MAX_PASSWORD = 1024  # bytes; far beyond any passphrase, and hashing it costs no more than a short one


NICENESS = 10
"""Of the hashing threads. At 19 a machine busy with other things lets a hash wait for ten seconds and more."""


class WeakPassword(ValueError):
    """A password that may not be set; the text says why."""


class Passwords:
    """Hashes and verifies. At most `password_queue` wait; more are turned away with a 503."""

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._hasher = Argon2Hasher(
            time_cost=settings.password_iterations,
            memory_cost=settings.password_memory_kib,
            parallelism=settings.password_parallelism,
        )
        self._min_length = settings.password_min_length
        self._slots = settings.password_threads + settings.password_queue
        self._taken = 0
        self._threads = ThreadPoolExecutor(settings.password_threads, "password", initializer=_give_way)
        # Verified in place of the hash that an unknown user does not have: the same work, the same time.
        self._dummy = parse(self._hasher.hash("no user has this password"))

    @property
    def taken(self) -> int:
        """How many hashes are under way or waiting."""
        return self._taken

    def close(self) -> None:
        """Let the threads end once they are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def verify(self, password: str, password_hash: str | None) -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if the old one is not what we would make today.

        Without a `password_hash` that can be used (no such user, or one without a password) the answer is False,
        after the work of one that we made. A hash that another system made takes what it takes.

        Raises:
            Unavailable: too many are waiting.
        """

        def work() -> tuple[bool, str | None]:
            try:
                # Bounded again, not only when it was imported: it may have come into the table in other ways.
                known = parse(password_hash) if password_hash else None
            except UnusableHash:
                known = None
            right = matches(password, known or self._dummy)
            if known is None or not right:
                return False, None
            outdated = not isinstance(known, Argon2) or self._hasher.check_needs_rehash(known.encoded)
            return True, self._hasher.hash(password) if outdated else None

        return await self._run(work)

    async def hash(self, password: str) -> str:
        """Hash a new password. Raises as `verify` does."""
        return await self._run(lambda: self._hasher.hash(password))

    def check_new(self, password: str) -> None:
        """Refuse a password that is too short or too long (NIST SP 800-63B 3.1.1.2: no other rules).

        Raises:
            WeakPassword: with the words for the user.
        """
        if len(password) < self._min_length:
            raise WeakPassword(
                f"the new password is too short: it takes at least {self._min_length} characters"
            )
        if len(password.encode()) > MAX_PASSWORD:
            raise WeakPassword(f"the new password is too long: at most {MAX_PASSWORD} bytes")

    async def _run(self, work: Callable[[], T]) -> T:
        if self._taken >= self._slots:
            if self._metrics is not None:
                self._metrics.hashes_shed.add()
            raise Unavailable("the sign-in", detail="the queue for password hashing is full", retry_after=2)
        self._taken += 1
        asked, began = time.perf_counter(), float("nan")

        def timed() -> T:
            nonlocal began
            began = time.perf_counter()
            return work()

        def done(_: object) -> None:
            self._taken -= 1
            if self._metrics is not None and not math.isnan(began):
                self._metrics.hash_wait_seconds.observe(began - asked)
                self._metrics.hash_seconds.observe(time.perf_counter() - began)

        future = asyncio.get_running_loop().run_in_executor(self._threads, timed)
        # Given back when the hash is done, not when its caller has gone: it still takes memory and a thread.
        future.add_done_callback(done)
        return await asyncio.shield(future)


def _give_way() -> None:
    # A thread of its own niceness: everything else in the process comes first. Linux has that; elsewhere
    # it would be the whole process's.
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
