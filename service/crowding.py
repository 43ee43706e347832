"""Who makes room when a worker has as many connections as it may have."""

import heapq
from collections.abc import Collection
from typing import Protocol

ROOM = 16
"""The part of all connections for which room is made at once: to look for them takes a while."""

SAFE_FOR = 1.0
"""Seconds for which a caller may keep a connection waiting that somebody else could have."""


class Held(Protocol):
    """A connection."""

    def waiting_since(self) -> float:
        """Return since when all that is waited for here is the caller, infinity if it is not so."""

    def hang_up(self) -> None:
        """Do at once what is done when the caller's time is over."""


class Crowd:
    """The callers of one worker."""

    def __init__(self) -> None:
        self._full_until = 0.0

    def make_room(self, connections: Collection[Held], now: float) -> bool:
        """Hang up on the callers that have kept their connections waiting for longest, if it is long enough.

        Else a few hundred callers who hold what they do not use would keep all others out.
        """
        if now < self._full_until:
            return False
        waiting = ((each.waiting_since(), id(each), each) for each in connections)
        longest = heapq.nsmallest(max(1, len(connections) // ROOM), waiting)
        # Before that, none has kept its connection waiting for long enough: there is no need to look again.
        self._full_until = min(longest[0][0], now) + SAFE_FOR
        for since, _, each in longest:
            if now - since >= SAFE_FOR:
                each.hang_up()
        return now >= self._full_until
