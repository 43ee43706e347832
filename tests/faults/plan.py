"""What will be done, drawn from a seed: the harm, and what each client decides. The same seed, the same plan."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Literal

from tests.faults.relay import Cut, Fault, HalfOpen, Hold, Way

LONG = 44.0
"""Seconds of a run."""

QUIET = 7.5
"""Seconds without harm at the end: five for everything to come back, and some to see that it has."""

Whose = Literal["quick", "patient", "library", "postgres", "redis"]
"""Whose connections: those of two kinds of clients, of the library, and of the service to its servers."""

_WAYS: tuple[Way, ...] = ("request", "answer")

_WHOSE: tuple[Whose, ...] = ("quick", "quick", "patient", "library")

Stoppable = Literal[
    "a worker", "a worker alone", "the service", "Postgres", "a backend", "Redis", "the library"
]


@dataclass(frozen=True, slots=True)
class KillWorkers:
    """SIGKILL to these of the two."""

    which: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class KillPostgres:
    """SIGKILL, and a start after so many seconds."""

    down: float


@dataclass(frozen=True, slots=True)
class KillRedis:
    """Likewise; `older`: it comes back with what it had when the run began."""

    down: float
    older: bool


@dataclass(frozen=True, slots=True)
class FlushRedis:
    """FLUSHALL."""


@dataclass(frozen=True, slots=True)
class Stop:
    """SIGSTOP, and SIGCONT after so many seconds."""

    what: Stoppable
    which: int
    seconds: float


@dataclass(frozen=True, slots=True)
class FillPool:
    """Every refresh waits for a lock for so long, and with them whoever needs a connection."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Disable:
    """A user is shut out, and let in again after so many seconds."""

    user: int
    seconds: float


@dataclass(frozen=True, slots=True)
class RotateKeys:
    """The next key signs."""


@dataclass(frozen=True, slots=True)
class Disturb:
    """A connection of the clients, or of the library, suffers this."""

    whose: Whose
    fault: Fault


@dataclass(frozen=True, slots=True)
class Storm:
    """For a while, one connection of the service after the other suffers something."""

    whose: Literal["postgres", "redis"]
    seconds: float
    faults: tuple[tuple[float, Fault], ...]


Deed = (
    KillWorkers
    | KillPostgres
    | KillRedis
    | FlushRedis
    | Stop
    | FillPool
    | Disable
    | RotateKeys
    | Disturb
    | Storm
)


_STOPPABLE: tuple[Stoppable, ...] = (
    "a worker",
    "a worker",
    "a worker alone",
    "the service",
    "Postgres",
    "a backend",
    "Redis",
    "the library",
)

Act = Literal[
    "refresh", "introspect", "me", "verify", "probe", "revoke session", "revoke token", "sign out everywhere"
]

_ACTS: dict[Act, float] = {
    "refresh": 42,
    "introspect": 12,
    "me": 6,
    "verify": 16,
    "probe": 14,
    "revoke session": 1.5,
    "revoke token": 3,
    "sign out everywhere": 0.3,
}
"""How often a client does what, in shares."""


@dataclass(frozen=True, slots=True)
class Step:
    """One decision of a client. Shares choose among what there is by then."""

    pause: float
    act: Act
    copies: int
    """How often the request is sent at once."""
    hurry: bool
    """Whether the other copies are given up as soon as one is answered."""
    patience: float
    """Seconds after which an answer is not waited for any more."""
    share: float


@dataclass(frozen=True, slots=True)
class Plan:
    """A run."""

    seed: int
    seconds: float
    clients: int
    users: int
    deeds: tuple[tuple[float, Deed], ...]

    @property
    def harmless_from(self) -> float:
        """When the last harm is over, as far as it is ours to end it."""
        return self.seconds - QUIET

    def steps(self, client: int) -> Iterator[Step]:
        """Return what a client decides, one after the other, without end."""
        random = Random(f"client {client} of {self.seed}")
        while True:
            yield _step(random)

    def user(self, client: int) -> int:
        """Return whom a client signs in. A few share one."""
        return client % self.users

    def is_patient(self, client: int) -> bool:
        """Whether its connections may be left half open: such a client waits before it goes on."""
        return client % 3 == 0


def _step(random: Random) -> Step:
    (act,) = random.choices(list(_ACTS), list(_ACTS.values()))
    return Step(
        pause=random.choice((0.0, 0.02, 0.1, 0.3)) * random.uniform(0.5, 1.5),
        act=act,
        copies=random.choice((1, 1, 1, 2, 3)),
        hurry=random.random() < 0.5,
        patience=random.choice((0.8, 1.5, 3.0, 7.0)),
        share=random.random(),
    )


def draw(seed: int) -> Plan:
    """Draw a run from its seed."""
    random = Random(f"harm of {seed}")
    end = LONG - QUIET
    stop = Stop(random.choice(_STOPPABLE), random.randrange(100), 15.0)
    deeds = [(random.uniform(1.5, end - stop.seconds), stop), *_blows(random, end)]
    if seed % 2 == 0:  # two at a time
        deeds += _blows(random, end)
    return _plan(seed, random, LONG, 18, deeds)


def draw_short(seed: int) -> Plan:
    """Draw a run for every day: each of the main harms once, one right after the other."""
    random = Random(f"short harm of {seed}")
    deeds: list[tuple[float, Deed]] = []
    at = 0.5
    for deed in random.sample(main := _main(random), len(main)):
        deeds.append((at, deed))
        at += _lasts(deed) + random.uniform(0.1, 0.6)
    return _plan(seed, random, at + QUIET, 12, deeds)


def _plan(
    seed: int, random: Random, seconds: float, clients: int, deeds: Sequence[tuple[float, Deed]]
) -> Plan:
    """Add what is done all the time."""
    users, end = clients // 3, seconds - QUIET
    more = [
        *_disturbances(random, end),
        *((at, RotateKeys()) for at in _moments(random, end, 5, 10)),
        *(
            (at, Disable(random.randrange(users), random.uniform(0.05, 2.0)))
            for at in _moments(random, end - 2.0, 3, 6)
        ),
    ]
    return Plan(seed, seconds, clients, users, tuple(sorted([*deeds, *more], key=lambda deed: deed[0])))


def _main(random: Random) -> list[Deed]:
    return [
        KillWorkers((random.randrange(2),)),
        KillPostgres(0.3),
        KillRedis(0.1, older=True),
        FlushRedis(),
        FillPool(1.0),
        Stop("a worker", random.randrange(2), 3.0),
    ]


def _blows(random: Random, end: float) -> Iterator[tuple[float, Deed]]:
    """Draw what comes one after the other: each once before any comes again."""
    at = random.uniform(1.0, 2.0)
    bag: list[Deed] = []
    while True:
        if not bag:
            bag = [
                KillWorkers((random.randrange(2),)),
                KillWorkers((0, 1)),
                KillPostgres(random.uniform(0.0, 2.0)),
                KillRedis(random.uniform(0.0, 2.0), older=False),
                KillRedis(random.uniform(0.0, 1.0), older=True),
                FlushRedis(),
                FlushRedis(),
                FillPool(random.uniform(1.0, 6.0)),
                _storm(random, "postgres"),
                _storm(random, "redis"),
                Stop("a worker", random.randrange(2), random.uniform(1.5, 4.0)),
                Stop("a backend", random.randrange(100), random.uniform(1.0, 4.0)),
                Stop("Redis", 0, random.uniform(0.5, 3.0)),
            ]
            random.shuffle(bag)
        deed = bag.pop()
        lasts = _lasts(deed)
        if at + lasts > end:
            return
        yield at, deed
        # Either the next follows at once, or it waits until the service must have come back.
        at += lasts + (random.uniform(0.2, 1.5) if random.random() < 0.7 else random.uniform(5.8, 7.0))


def _storm(random: Random, whose: Literal["postgres", "redis"]) -> Storm:
    seconds = random.uniform(1.0, 3.0)
    faults = tuple((at, _fault(random, seconds)) for at in _moments(random, seconds, 0.05, 0.3, first=0.0))
    return Storm(whose, seconds, faults)


def _lasts(deed: Deed) -> float:
    match deed:
        case (
            KillPostgres(down=seconds)
            | KillRedis(down=seconds)
            | Stop(seconds=seconds)
            | FillPool(seconds=seconds)
            | Storm(seconds=seconds)
        ):
            return seconds + 0.5
        case _:
            return 0.0


def _disturbances(random: Random, end: float) -> Iterator[tuple[float, Deed]]:
    for at in _moments(random, end, 0.1, 0.6):
        whose = random.choice(_WHOSE)
        fault = _fault(random, end - at)
        if whose == "patient" and random.random() < 0.3:
            fault = HalfOpen()
        yield at, Disturb(whose, fault)


def _fault(random: Random, longest: float) -> Fault:
    way, share = random.choice(_WAYS), random.choice((0.0, random.random(), 1.0))
    if random.random() < 0.6:
        return Cut(way, share, random.random() < 0.3)
    return Hold(way, share, min(random.choice((0.3, 1.0, 4.0, 8.0)), longest))


def _moments(random: Random, end: float, least: float, most: float, *, first: float = 1.0) -> Iterator[float]:
    at = first + random.uniform(0, least)
    while at < end:
        yield at
        at += random.uniform(least, most)
