"""Keeps a replica's key ring up to date: with the folder of keys, and with the time."""

import asyncio
import logging
from datetime import UTC, datetime
from pathlib import Path

from service.background import Background
from service.signing import changes, files
from service.signing.entries import KeyRingError
from service.signing.ring import KeyRing, read
from service.signing.rules import Policy

_log = logging.getLogger("sealwright")

INTERVAL = 1.0
"""Seconds from look to look; far below PICKUP."""


class KeyRingWatcher:
    """Holds the present ring. A change on disk that cannot be used leaves the last good one in place."""

    def __init__(self, keys_dir: Path, policy: Policy, *, interval: float = INTERVAL) -> None:
        self._keys_dir = keys_dir
        self._policy = policy
        self._interval = interval
        self._raw = b""
        self._ring: KeyRing | None = None
        self._problem: str | None = None
        self._untidy: str | None = None
        self._background = Background()

    @property
    def ring(self) -> KeyRing:
        """The present ring: take it anew for each request."""
        assert self._ring is not None, "start() the watcher first"
        return self._ring

    @property
    def problem(self) -> str | None:
        """Why the folder's present state is not in use, for `/readyz`; None if it is."""
        return self._problem

    async def start(self) -> None:
        """Load the ring and begin to watch.

        Raises:
            KeyRingError: the ring cannot be used; nothing is started.
        """
        await asyncio.to_thread(self._look)
        self._background.start(self._watch(), "key ring")

    async def stop(self) -> None:
        """Stop watching; the ring stays usable."""
        await self._background.stop()

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            # A file system that hangs must not hang the event loop.
            await asyncio.to_thread(self._look_and_survive)

    def _look_and_survive(self) -> None:
        try:
            self._look()
        except KeyRingError as error:
            self._report(str(error))
        except Exception as error:  # noqa: BLE001  # whatever it is, tokens can still be signed with the last good ring
            _log.exception("the key ring could not be looked at")
            self._report(f"the key ring could not be looked at: {type(error).__name__}")
        else:
            if self._problem is not None:
                _log.info("the key ring is usable again")
                self._problem = None

    def _report(self, problem: str) -> None:
        if problem != self._problem:
            _log.error("the key ring on disk is not in use, the last good one is: %s", problem)
            self._problem = problem

    def _look(self) -> None:
        now = datetime.now(UTC)
        # All of its bytes, not its time and size: opening asks a network file system for the present file.
        raw = files.read_ring(self._keys_dir)
        ring = self._ring
        changed = raw != self._raw or self._problem is not None
        due = ring is not None and ring.changes_at is not None and ring.changes_at <= now.timestamp()
        if ring is None or changed or due:
            self._raw, self._ring = read(self._keys_dir, self._policy, now)
            _log.info(
                "key ring: %s signs, %d keys are published",
                self._ring.active_kid(now.timestamp()),
                len(self._ring.published),
            )
        if ring is None or changed or due or self._untidy is not None:
            self._tidy(now)

    def _tidy(self, now: datetime) -> None:
        try:
            changes.tidy(self._keys_dir, self._policy, now)
            self._untidy = None
        except KeyRingError as error:
            # Another process may do it, or an operator's next command.
            if self._untidy is None:
                _log.warning("keys that are over could not be removed: %s", error)
            self._untidy = str(error)
