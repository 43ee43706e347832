"""Measuring each operation next to its floor, in turns, and taking the median of the rounds."""

import asyncio
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from statistics import median

import httpx2

from benchmarks import bare, floors, meters
from benchmarks.driving import CONNECTIONS, Job, Measured, drive
from benchmarks.operations import OPERATIONS, Operation, Subjects
from benchmarks.plans import get
from benchmarks.stack import WORKERS, Ground, Stack
from benchmarks.verify import verification
from tests.support.orders import ordering
from tests.support.revoking import seconds_until_refused

VERIFY = "verify in the library"
REFUSED = "revoke → refused"
EVERYTHING = (*(operation.name for operation in OPERATIONS), VERIFY, REFUSED)

REFUSALS = 50
"""Revocations that one look at them takes."""


@dataclass(frozen=True)
class Sample:
    """One operation. Times and CPU are in milliseconds, CPU is that of one request."""

    ratio: float
    """How much more it costs than what it cannot do without."""
    floor: float
    """That, once."""
    rate: float = 0
    p50: float = 0
    p99: float = 0
    service: float = 0
    postgres: float = 0
    redis: float = 0
    commits: float = 0
    """Its CPU in Postgres, in commits."""


def middle(samples: Collection[Sample]) -> Sample:
    """Return the median, each figure by itself."""
    return Sample(**{name: median(getattr(each, name) for each in samples) for name in _FIGURES})


_FIGURES = [field.name for field in fields(Sample)]


def told(doing: str) -> None:
    """Say to whoever waits what is being done."""
    print(f"{time.strftime('%H:%M:%S')} {doing}", file=sys.stderr, flush=True)


class Bench:
    """The stack, the bare server, and what is needed to ask."""

    def __init__(self, running: Stack, bare_port: int, bare_pid: int, seconds: float) -> None:
        self.stack = running
        self.seconds = seconds
        self._bare = bare_port, meters.cpu(service=bare_pid)
        self._subjects = Subjects(running)
        (self._key,) = running.deployment.keys_dir.glob("*.pem")

    def run(self, operation: Operation, meter: meters.Meter, seconds: float) -> Measured:
        """Put one operation under load."""
        job = operation.job(self._subjects)
        done = drive(self.stack.port, job, meter, seconds=seconds, callers=operation.callers)
        if done.tokens:
            self._subjects.refresh = done.tokens
        return done

    def rounds(self, count: int, names: Collection[str]) -> dict[str, Sample]:
        """Measure the operations of these names, in so many rounds."""
        chosen = [each for each in OPERATIONS if each.name in names]
        seen: dict[str, list[Sample]] = {}
        for number in range(count):
            told(f"round {number + 1} of {count}")
            for operation in chosen:
                seen.setdefault(operation.name, []).append(self._sample(operation))
            if VERIFY in names:
                seen.setdefault(VERIFY, []).append(self._verification())
        found = {name: middle(samples) for name, samples in seen.items()}
        if REFUSED in names:
            found[REFUSED] = middle(list(self._refusals(count)))
        return found

    def _sample(self, operation: Operation) -> Sample:
        floor = self._floor(operation.floor)
        done = self.run(operation, self.stack.cpu, self.seconds * operation.weight)
        commits = done.each["postgres"] / self._commit(CONNECTIONS).cpu if operation.commits else 0
        return Sample(
            ratio=done.each["service"] / (floor * operation.times),
            floor=floor,
            rate=done.rate,
            p50=done.p50,
            p99=done.p99,
            commits=commits,
            **done.each,
        )

    def _floor(self, name: str) -> float:
        match name:
            case "signature":
                return floors.signature(self._key, self.seconds / 2).cpu
            case "password hash":
                return floors.password(self.seconds).cpu
            case _:
                port, meter = self._bare
                return drive(port, Job.of(get("/")), meter, seconds=self.seconds / 2).each["service"]

    def _commit(self, connections: int) -> floors.Cost:
        url, pid = self.stack.deployment.database_url, self.stack.servers.pids["postgres"]
        return floors.commit(url, pid, connections, self.seconds)

    def _verification(self) -> Sample:
        floor, first = (each / 1000 for each in asyncio.run(verification()))
        return Sample(ratio=first / floor, floor=floor, rate=1000 / first, service=first)

    def _refusals(self, count: int) -> Iterator[Sample]:
        told(REFUSED)
        url = self.stack.server.url
        with (
            ordering(self.stack.deployment, url) as orders,
            httpx2.Client(base_url=url, timeout=60) as issuer,
            httpx2.Client(base_url=orders.url, timeout=60) as shop,
        ):
            for _ in range(count):
                floor = self._commit(1).p50
                taken = sorted(each * 1000 for each in seconds_until_refused(issuer, shop, REFUSALS))
                p50, p99 = median(taken), taken[int(len(taken) * 0.99)]
                yield Sample(ratio=p50 / floor, floor=floor, p50=p50, p99=p99)


@contextmanager
def bench(ground: Ground, seconds: float) -> Iterator[Bench]:
    """Start the service and the bare server."""
    with ground.serving() as running, bare.serving(WORKERS) as (port, pid):
        yield Bench(running, port, pid, seconds)
