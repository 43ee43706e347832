"""What is counted, and how long a wait is: the rules, and nothing that acts on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, Protocol, TypeAlias

from service.settings import Settings

Kind = Literal["account", "address", "client", "client_address", "password", "registration"]

FIRST_WAIT = 1000
"""Milliseconds; each further failure doubles it."""

ACCOUNT_WINDOW = timedelta(hours=6)
"""For how long the wrong passwords for one account from one address add up."""

WINDOW = timedelta(hours=1)
"""The same for everything else."""

_DOUBLINGS = 40
"""Beyond any longest wait that settings allow."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How often something may fail. Times are in milliseconds."""

    kind: Kind
    free: int
    """The failure of this number brings the first wait."""
    window: int
    """All is forgotten so long after the first failure."""
    longest: int
    """No wait is longer."""
    certain: bool = False
    """Every try is counted when it begins; else only one that may bring a wait. The others are counted once they
    have failed, so that those that succeed need not be written anywhere."""
    forgiving: bool = False
    """A success takes back all failures, not only itself."""

    def wait(self, failures: int) -> int:
        """Return how long to wait after so many failures."""
        if failures < self.free:
            return 0
        return min(FIRST_WAIT << min(failures - self.free, _DOUBLINGS), self.longest)


class Rules:
    """The rules of a deployment; None for a limit that is turned off."""

    def __init__(self, settings: Settings) -> None:
        account, address = settings.guesses_per_account, settings.guesses_per_address
        client, registrations = settings.guesses_per_client, settings.registrations_per_address
        longest = settings.guess_longest_wait
        self.account = _rule("account", account, ACCOUNT_WINDOW, longest, forgiving=True)
        self.address = _rule("address", address, WINDOW, longest)
        self.password = _rule("password", account, ACCOUNT_WINDOW, longest, certain=True, forgiving=True)
        self.client = _rule("client", client, WINDOW, longest, certain=True, forgiving=True)
        self.client_address = _rule("client_address", address, WINDOW, longest, certain=True)
        self.registration = _rule("registration", registrations, WINDOW, longest, certain=True)


def _rule(
    kind: Kind,
    free: int,
    window: timedelta,
    longest: timedelta,
    *,
    certain: bool = False,
    forgiving: bool = False,
) -> Rule | None:
    if not free:
        return None
    window_ms, longest_ms = (max(int(time / timedelta(milliseconds=1)), 1) for time in (window, longest))
    return Rule(kind, free, window_ms, longest_ms, certain=certain, forgiving=forgiving)


@dataclass(frozen=True, slots=True)
class Limit:
    """A rule, applied to somebody. Those that are looked at together have the same `place`."""

    rule: Rule
    place: str
    subject: str = ""


@dataclass(frozen=True, slots=True)
class Wait:
    """It is too early for another try."""

    kind: Kind
    left: int
    """Milliseconds."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How a limit stands when a try begins: the failures, and whether this try is among them already."""

    limit: Limit
    failures: int
    counted: bool


Begun: TypeAlias = Wait | tuple[Standing, ...]


class Counts(Protocol):
    """Where failures are counted. Each of these is one call, and nothing comes between its parts."""

    async def begin(self, limits: Sequence[Limit]) -> Begun:
        """Begin a try under all of these, or under none: a try that has to wait is not counted."""

    async def count(self, limits: Sequence[Limit]) -> list[int]:
        """Count a failure under each; return how many there are now."""

    async def settle(self, back: Sequence[Limit], forget: Sequence[Limit]) -> None:
        """Take back one count of each in `back`, with the wait it brought, and everything of those in `forget`."""
