"""Counting in this process alone: the same rules while Redis is away, in bounded memory."""

import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from service.guessing.rules import Begun, Limit, Standing, Wait

MOST = 10_000
"""Limits that are remembered, a few megabytes; of more, the oldest are forgotten."""


@dataclass(slots=True)
class _Held:
    failures: int
    ends: float
    until: float


class LocalCounts:
    """One process's counts."""

    def __init__(self, *, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self._held: OrderedDict[Limit, _Held] = OrderedDict()
        self._most = most
        self._clock = clock

    async def begin(self, limits: Sequence[Limit]) -> Begun:
        """See `Counts`."""
        now = self._clock()
        waits = [(max(self._of(limit, now).until - now, 0.0), limit.rule.kind) for limit in limits]
        longest, kind = max(waits)
        if longest > 0:
            return Wait(kind, max(round(longest * 1000), 1))
        standings = []
        for limit in limits:
            failures = self._of(limit, now).failures
            counted = limit.rule.certain or failures + 1 >= limit.rule.free
            standings.append(Standing(limit, self._count(limit, now) if counted else failures, counted))
        return tuple(standings)

    async def count(self, limits: Sequence[Limit]) -> list[int]:
        """See `Counts`."""
        now = self._clock()
        return [self._count(limit, now) for limit in limits]

    async def settle(self, back: Sequence[Limit], forget: Sequence[Limit]) -> None:
        """See `Counts`."""
        for limit in forget:
            self._held.pop(limit, None)
        for limit in back:
            held = self._held.get(limit)
            if held is not None and held.failures > 1:
                held.failures, held.until = held.failures - 1, 0.0
            else:
                self._held.pop(limit, None)

    def _of(self, limit: Limit, now: float) -> _Held:
        held = self._held.get(limit)
        if held is not None and held.ends > now:
            return held
        # A wait may outlive the count that it came from.
        return _Held(0, now + limit.rule.window / 1000, held.until if held else 0.0)

    def _count(self, limit: Limit, now: float) -> int:
        held = self._of(limit, now)
        held.failures += 1
        wait = limit.rule.wait(held.failures)
        if wait:
            held.until = now + wait / 1000
        self._held[limit] = held
        self._held.move_to_end(limit)
        if len(self._held) > self._most:
            self._held.popitem(last=False)
        return held.failures
