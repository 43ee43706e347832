"""What was asked of the service and answered, and what was done to it; all times in seconds since the run began."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

GRACE = 30.0
"""Seconds in which a refresh token may be sent again; then the client must not, and its user has to sign in."""

Operation = Literal[
    "sign in", "refresh", "revoke", "introspect", "me", "verify", "sign out everywhere", "disable", "enable"
]

Outcome = Literal[
    "issued",  # new tokens
    "accepted",  # the token is good
    "done",  # it is taken back, or whatever was asked for
    "refused",  # no
    "unavailable",  # 503, or Unavailable in a program
    "silent",  # no answer that could be read
    "failed",  # any other answer
]

Part = Literal["worker", "service", "postgres", "redis", "pool", "keys", "library", "feed", "connection"]

EASY: frozenset[Part] = frozenset({"keys", "library", "feed", "connection"})
"""What is no reason for the service to be away: it is not a part of it, or goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Token:
    """What a token says of itself, and nothing that could be used."""

    kind: Literal["access", "refresh"]
    jti: str
    sid: str
    sub: str


@dataclass(frozen=True, slots=True)
class Call:
    """One request and what became of it."""

    who: str
    what: Operation
    began: float
    ended: float
    outcome: Outcome
    sub: str | None = None
    """Whom it is about, where there is no token to say so."""
    token: Token | None = None
    """The one that was presented."""
    issued: tuple[Token, ...] = ()
    said: str = ""
    """The error, or what kept the answer away."""
    flaw: str | None = None
    """What about the answer is not as its standard has it."""
    seen: float | None = None
    """Up to when the library that was asked surely knew the record, as it was asked."""


@dataclass(frozen=True, slots=True)
class Harm:
    """What was done to a part, from its beginning until the part was there again."""

    what: str
    part: Part
    began: float
    back: float
    single: bool = False
    """Whether one connection suffered it."""

    def overlaps(self, began: float, ended: float) -> bool:
        """Whether some of it happened in this time."""
        return self.began <= ended and began <= self.back


@dataclass(frozen=True, slots=True)
class Stall:
    """A time in which the harness itself, which had nothing to wait for, was not run: the machine was too busy."""

    began: float
    ended: float


@dataclass
class History:
    """All of it, in the order in which it ended."""

    calls: list[Call] = field(default_factory=list)
    harms: list[Harm] = field(default_factory=list)
    stalls: list[Stall] = field(default_factory=list)
    origin: float = field(default_factory=time.monotonic)

    def start(self) -> None:
        """Count from now on."""
        self.origin = time.monotonic()

    def now(self) -> float:
        """Seconds since the run began. The clock is the machine's: other processes have the same."""
        return time.monotonic() - self.origin

    @contextmanager
    def harming(self, what: str, part: Part) -> Iterator[None]:
        """Record a harm that lasts as long as the block."""
        began = self.now()
        try:
            yield
        finally:
            self.harms.append(Harm(what, part, began, self.now()))

    def stalled(self, began: float, ended: float) -> float:
        """Seconds of this time in which the machine was too busy to run the harness."""
        return sum(max(0.0, min(s.ended, ended) - max(s.began, began)) for s in self.stalls)
