"""The feed: the revocations in force, and then each change, for those who verify tokens on their own.

One worker keeps one copy of the record's revocations in memory, however many listeners wait on it. Numbers
become visible in their own order and without a gap (`record.append`), so the copy holds everything up to its
number. Nothing is too long ago: a revocation that is in force is told to whoever has not seen its number.
"""

import asyncio
import contextlib
import heapq
import json
import logging
import math
import re
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Self
from uuid import UUID

from service.background import Background, woken
from service.database import Database
from service.errors import Unavailable
from service.revocation import record
from service.revocation.record import Entry, Head

log = logging.getLogger("sealwright")

PAGE = 1000
"""Entries read from Postgres at once, so that a long record does not hold up the worker's other requests."""

GATHER = 0.01
"""Seconds between two looks at the least, so that a burst of revocations is one look and one answer."""

TOO_OLD = 30.0
"""Seconds after which a copy that the record has not confirmed is not handed out any more."""


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far a listener has come."""

    timeline: UUID
    number: int

    def __str__(self) -> str:
        return f"{self.timeline.hex}.{self.number}"

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Read what `str` wrote; None if it is anything else."""
        if not re.fullmatch(r"[0-9a-f]{32}\.[0-9]{1,18}", text):
            return None
        timeline, _, number = text.partition(".")
        return cls(UUID(timeline), int(number))


@dataclass(frozen=True, slots=True)
class Told:
    """What a listener is told. `revocations` is a list in JSON without its brackets."""

    snapshot: bool
    cursor: Cursor
    revocations: bytes
    age: float
    """Seconds since the record was last seen to hold no more than this."""


class Copy:
    """The revocations in force on one timeline, up to a number; pure, of what the record said."""

    def __init__(self, timeline: UUID) -> None:
        self.cursor = Cursor(timeline, 0)
        self._told: dict[int, bytes] = {}  # by number, and so in the order of the numbers
        self._numbers: dict[tuple[str, str], int] = {}
        self._ends: list[tuple[float, int, tuple[str, str]]] = []

    def __len__(self) -> int:
        return len(self._told)

    def take(self, entries: Sequence[Entry], *, upto: int) -> None:
        """Take the entries that come next: all that are in force up to a number, and perhaps some that came later."""
        for entry in entries:
            subject = (entry.kind, entry.subject)
            replaced = self._numbers.get(subject)
            if replaced is not None:
                del self._told[replaced]
            self._numbers[subject] = entry.number
            self._told[entry.number] = _json(entry)
            heapq.heappush(self._ends, (entry.expires_at.timestamp(), entry.number, subject))
            upto = max(upto, entry.number)
        self.cursor = Cursor(self.cursor.timeline, upto)

    def drop_over(self, now: float) -> None:
        """Drop what is over at `now`, a Unix time of Postgres's clock."""
        while self._ends and self._ends[0][0] < now:
            _, number, subject = heapq.heappop(self._ends)
            if self._told.pop(number, None) is not None:
                del self._numbers[subject]

    def all(self) -> bytes:
        """Return everything."""
        return b",".join(self._told.values())

    def after(self, number: int) -> bytes:
        """Return what came after a number."""
        return b",".join([*self._later(number)][::-1])

    def _later(self, number: int) -> Iterator[bytes]:
        for held in reversed(self._told):
            if held <= number:
                return
            yield self._told[held]


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _json(entry: Entry) -> bytes:
    body: dict[str, object] = {entry.kind: entry.subject}
    if entry.kind in {"sub", "client_id"}:
        body["epoch"] = entry.epoch
    body |= {"exp": math.ceil(entry.expires_at.timestamp()), "reason": entry.reason}
    return _encode(body).encode()


class Feed:
    """One worker's copy of the record. It costs nothing until somebody asks for it.

    `lost` is told of a head that is behind what was seen: it begins a new timeline (see `Revocations`).
    """

    def __init__(
        self, database: Database, *, interval: timedelta, lost: Callable[[Head, int], Awaitable[bool]]
    ) -> None:
        self._database = database
        self._interval = interval.total_seconds()
        self._lost = lost
        self._copy: Copy | None = None
        self._seen_at = float("-inf")
        self._looking: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()
        self._changed = asyncio.Event()
        self._closing = False
        self._following = False
        self._background = Background()

    async def stop(self) -> None:
        """Stop following the record."""
        self.close()
        await self._background.stop()
        if self._looking is not None:
            self._looking.cancel()
            await asyncio.wait([self._looking])

    def close(self) -> None:
        """Answer all who wait, at once and from now on: this worker is about to end."""
        self._closing = True
        self._changed.set()

    def wake(self) -> None:
        """Look at the record now: it may have moved."""
        self._wake.set()

    def __len__(self) -> int:
        return 0 if self._copy is None else len(self._copy)

    async def snapshot(self) -> Told:
        """Return all revocations in force.

        Raises:
            Unavailable: the record has not been seen for half a minute.
        """
        copy = await self._current()
        return Told(True, copy.cursor, copy.all(), self._age())

    @property
    def timeline(self) -> UUID | None:
        """The timeline of the record, as far as it has been seen."""
        return None if self._copy is None else self._copy.cursor.timeline

    async def changes(self, after: Cursor, wait: float) -> Told | None:
        """Return what came after a cursor, as soon as there is something, or nothing after `wait` seconds.

        None: the cursor means nothing here any more, as after a restore, and only a snapshot will do. Raises as
        `snapshot`.
        """
        copy = await self._current()
        for _ in range(2):  # the first look may have been under way already
            if _elsewhere(after, copy.cursor):  # another replica may have been quicker than this one
                await self._look()
                copy = await self._current()
        deadline = time.monotonic() + wait
        while copy.cursor == after and not self._closing and (left := deadline - time.monotonic()) > 0:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left)
            copy = await self._current()
        if _elsewhere(after, copy.cursor):
            return None
        return Told(False, copy.cursor, copy.after(after.number), self._age())

    async def _current(self) -> Copy:
        if self._copy is None or self._age() > TOO_OLD:
            await self._look()
        if not self._following:
            self._following = True
            self._background.start(self._follow(), "the revocation feed")
        assert self._copy is not None
        return self._copy

    def _age(self) -> float:
        return time.monotonic() - self._seen_at

    async def _follow(self) -> None:
        while True:
            await woken(self._wake, self._interval)
            try:
                await self._look()
            except Unavailable as error:
                log.debug("the revocation feed: %s", error.detail)
            except Exception:
                log.exception("looking at the revocations failed; trying again")
            await asyncio.sleep(GATHER)

    async def _look(self) -> None:
        # One look, whoever waits for it; one who gives up does not end it for the others.
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._catch_up())
        await asyncio.shield(self._looking)

    async def _catch_up(self) -> None:
        """Bring the copy up to what the record holds."""
        began = time.monotonic()
        async with self._database.connect() as db:
            head = await record.head(db)
        copy, before = self._copy, self._copy and self._copy.cursor
        if copy is None or copy.cursor.timeline != head.timeline:
            copy = Copy(head.timeline)
        if head.number < copy.cursor.number:
            await self._lost(head, copy.cursor.number)
            raise Unavailable("the database", detail="it has lost revocations; a new timeline begins")
        more = copy.cursor.number < head.number
        # To the end, beyond `head`: what is revoked anew meanwhile moves there from a page to come.
        while more:
            async with self._database.connect() as db:
                page = await record.page(db, copy.cursor.number, PAGE)
            more = len(page) == PAGE
            copy.take(page, upto=page[-1].number if more else head.number)
        copy.drop_over(head.at.timestamp())
        self._copy, self._seen_at = copy, began
        if copy.cursor != before:
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()


def _elsewhere(after: Cursor, cursor: Cursor) -> bool:
    """Whether a listener knows what the copy does not: a later number, or another timeline."""
    return after.timeline != cursor.timeline or after.number > cursor.number
