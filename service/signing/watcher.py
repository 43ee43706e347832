"""Keeps a replica's key ring up to date: with its store, and with the time."""

import asyncio
import logging
import time
from datetime import UTC, datetime, timedelta

from service.background import Background, woken
from service.errors import Unavailable
from service.signing import changes
from service.signing.entries import KeyRingError
from service.signing.ring import KeyRing, KeyStatus, read
from service.signing.rules import Policy
from service.signing.store import Store

_log = logging.getLogger("sealwright")


class KeyRingWatcher:
    """Holds the present ring. A change in the store that cannot be used leaves the last good one in place."""

    def __init__(self, store: Store, policy: Policy, *, interval: timedelta) -> None:
        self._store = store
        self._policy = policy
        self._interval = interval.total_seconds()
        self._raw = b""
        self._ring: KeyRing | None = None
        self._problem: str | None = None
        self._untidy: str | None = None
        self._changed = asyncio.Event()
        self._background = Background()

    @property
    def ring(self) -> KeyRing:
        """The present ring: take it anew for each request."""
        assert self._ring is not None, "start() the watcher first"
        return self._ring

    @property
    def problem(self) -> str | None:
        """Why the store's present state is not in use, for `/readyz`; None if it is."""
        return self._problem

    @property
    def status(self) -> tuple[KeyStatus, ...]:
        """What each key does now, and its age."""
        return self.ring.status(time.time())

    async def changed(self, within: float) -> None:
        """Wait for a new ring, so many seconds at most."""
        await woken(self._changed, within)

    async def start(self) -> None:
        """Load the ring and begin to watch.

        Raises:
            KeyRingError: the ring cannot be used; nothing is started.
            Unavailable: the ring is in Postgres, which is away.
        """
        await self._look()
        self._background.start(self._watch(), "key ring")

    async def stop(self) -> None:
        """Stop watching; the ring stays usable."""
        await self._background.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            await self._look_and_survive()

    async def _look_and_survive(self) -> None:
        try:
            await self._look()
        except KeyRingError as error:
            self._report(str(error))
        except Unavailable as error:
            # Of the ring nothing new is known, and nobody can change it either.
            _log.debug("key ring: %s", error.detail)
        except Exception as error:  # noqa: BLE001  # whatever it is, tokens can still be signed with the last good ring
            _log.exception("the key ring could not be looked at")
            self._report(f"the key ring could not be looked at: {type(error).__name__}")
        else:
            if self._problem is not None:
                _log.info("the key ring is usable again")
                self._problem = None

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            _log.error("the key ring as it is now is not in use, the last good one is: %s", problem)
            self._problem = problem

    async def _look(self) -> None:
        now = datetime.now(UTC)
        # All of its bytes, not a file's time and size: opening asks a network file system for the present file.
        raw = await self._store.read()
        ring = self._ring
        changed = raw != self._raw or self._problem is not None
        due = ring is not None and ring.changes_at is not None and ring.changes_at <= now.timestamp()
        if ring is None or changed or due:
            self._raw, self._ring = await read(self._store, self._policy, now)
            self._changed.set()
            _log.info(
                "key ring: %s signs, %d keys are published",
                self._ring.active_kid(now.timestamp()),
                len(self._ring.published),
            )
        if ring is None or changed or due or self._untidy is not None:
            await self._tidy(now)

    async def _tidy(self, now: datetime) -> None:
        try:
            if changes.untidy(self.ring.entries, await self._store.privates(), self._policy, now):
                await self._store.change(changes.tidy(self._policy, now))
            self._untidy = None
        except KeyRingError as error:
            # Another process may do it, or an operator's next command.
            if self._untidy is None:
                _log.warning("keys that are over could not be removed: %s", error)
            self._untidy = str(error)
