"""Passwords: hashed with Argon2id in a small pool of threads of its own, so that nothing else is starved by it."""

import asyncio
import contextlib
import math
import os
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeAlias, TypeVar

from pwdlib.hashers.argon2 import Argon2Hasher
from starlette.requests import ClientDisconnect

from service.errors import Shedding, Unavailable
from service.metrics import Metrics
from service.settings import Settings
from service.users.hashes import Argon2, UnusableHash, matches, parse

T = TypeVar("T")
Gone: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

MAX_PASSWORD = 1024  # bytes; far beyond any passphrase, and hashing it costs no more than a short one


NICENESS = 10
"""Of the hashing threads. At 19 a machine busy with other things lets a hash wait for ten seconds and more."""


_MEMORY = 8
"""Hashes over which it is forgotten how long one took."""


class WeakPassword(ValueError):
    """A password that may not be set; the text says why."""


class Passwords:
    """Hashes and verifies. Who would wait for longer than `password_wait` is turned away at once, with a 503.

    How long that is, is told by how long hashes took of late; more than `password_queue` wait in no case.
    """

    def __init__(self, settings: Settings, metrics: Metrics | None = None) -> None:
        self._metrics = metrics
        self._hasher = Argon2Hasher(
            time_cost=settings.password_iterations,
            memory_cost=settings.password_memory_kib,
            parallelism=settings.password_parallelism,
        )
        self._min_length = settings.password_min_length
        self._at_once = settings.password_threads
        self._queue = settings.password_queue
        self._patience = settings.password_wait.total_seconds()
        self._taken = 0
        self._shedding = Shedding()
        self._threads = ThreadPoolExecutor(settings.password_threads, "password", initializer=_give_way)
        began = time.perf_counter()
        # Verified in place of the hash that an unknown user does not have: the same work, the same time.
        self._dummy = self._hasher.hash("no user has this password")
        self._usual = min(time.perf_counter() - began, self._patience)

    @property
    def taken(self) -> int:
        """How many hashes are under way or waiting."""
        return self._taken

    def close(self) -> None:
        """Let the threads end once they are idle."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def require_room(self) -> None:
        """Refuse now what would be refused later, after others had been asked for it.

        Raises:
            Unavailable: the wait is too long.
        """
        waiting = self._taken - self._at_once
        if waiting < 0:
            return
        foreseen = waiting * self._usual / self._at_once
        if waiting >= self._queue or foreseen >= self._patience:
            if self._metrics is not None:
                self._metrics.hashes_shed.add()
            raise Unavailable(
                "the sign-in",
                detail=f"{waiting} wait for a password hash already, for {foreseen:.1f} s",
                retry_after=math.ceil(self._patience),
                told=self._shedding.is_due(),
            )

    async def verify(
        self, password: str, password_hash: str | None, gone: Gone | None = None
    ) -> tuple[bool, str | None]:
        """Return whether the password is right, and a new hash if the old one is not what we would make today.

        Without a `password_hash` that can be used (no such user, or one without a password) the answer is False,
        after the work of one that we made. A hash that another system made takes what it takes.

        `gone` returns when the caller has hung up: a hash that is still waiting is then not made.

        Raises:
            Unavailable: the wait is too long.
            ClientDisconnect: the caller hung up before its turn came.
        """

        def work() -> tuple[bool, str | None]:
            try:
                # Bounded again, not only when it was imported: it may have come into the table in other ways.
                known, usable = parse(password_hash or self._dummy), bool(password_hash)
            except UnusableHash:
                known, usable = parse(self._dummy), False
            right = matches(password, known)
            if not usable or not right:
                return False, None
            outdated = not isinstance(known, Argon2) or self._hasher.check_needs_rehash(known.encoded)
            return True, self._hasher.hash(password) if outdated else None

        return await self._run(work, gone)

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

    async def _run(self, work: Callable[[], T], gone: Gone | None = None) -> T:
        self.require_room()
        self._taken += 1
        asked = time.perf_counter()
        began = took = math.nan

        def timed() -> T:
            nonlocal began, took
            began = time.perf_counter()
            try:
                return work()
            finally:
                took = time.perf_counter() - began

        def done(_: object) -> None:
            self._taken -= 1
            if math.isnan(took):  # nobody waited for it any more when its turn came
                return
            self._learn(took)
            if self._metrics is not None:
                self._metrics.hash_wait_seconds.observe(began - asked)
                self._metrics.hash_seconds.observe(took)

        job = self._threads.submit(timed)
        hashing = asyncio.wrap_future(job)
        hashing.add_done_callback(done)
        try:
            if gone is not None:
                await _first(hashing, gone())
                if job.cancel():
                    raise ClientDisconnect
            # Shielded: what has begun takes memory and a thread until it is done, whoever still waits for it.
            return await asyncio.shield(hashing)
        finally:
            job.cancel()

    def _learn(self, took: float) -> None:
        # A process that was stopped in between has measured its own absence.
        self._usual += (min(took, self._patience) - self._usual) / _MEMORY


async def _first(one: asyncio.Future[Any], other: Coroutine[Any, Any, None]) -> None:
    """Wait for either."""
    task = asyncio.create_task(other)
    both: set[asyncio.Future[Any]] = {one, task}
    try:
        await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
    finally:
        task.cancel()


def _give_way() -> None:
    # A thread of its own niceness: everything else in the process comes first. Linux has that; elsewhere
    # it would be the whole process's.
    if hasattr(os, "sched_getaffinity"):
        with contextlib.suppress(OSError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
