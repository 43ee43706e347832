"""Counts that several worker processes write and anybody reads: right across them, and across their deaths.

The board is a file without a name, so that nothing is left of it when all who have it are gone, however they
ended. Each worker has a seat there: floats that are mapped into its memory, one or a few for every series, and a
list that says which. Adding to a series is one addition in memory, without a lock, because only the worker's
event loop writes. A worker that is killed leaves what it counted; the one that takes its place goes on from there.
"""

import fcntl
import json
import math
import mmap
import os
import tempfile
import time
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count
from multiprocessing.reduction import DupFd
from typing import Any, Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

CAPACITY = 8 * 1024
"""Floats of one seat: some thousands of series. The labels' values are closed sets; this is for the day one is not."""

FRESH_FOR = 5.0
"""Seconds for which a worker's gauges count without a new heartbeat."""

_CELLS = CAPACITY * 8
"""Bytes of the floats."""

_SEAT = 1024 * 1024
"""Bytes from seat to seat; behind the floats is the list, a line a series. What is not written takes no memory."""

_HEARTBEAT = 0
_LISTED = 1
"""Where it stands how many bytes of the list are written."""

_FIRST = 2
_SPILL = 64
"""Floats at the end of a seat, where series go for which there is no more room: nobody reads them."""


@dataclass(frozen=True, slots=True)
class Family:
    """One metric: its name, what kind it is, what it means and which labels it has."""

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()
    """A histogram's upper bounds; above the last there is one more bucket."""
    each_worker: bool = False
    """A gauge that is told for each worker (label `worker`), not once for all (the greatest)."""

    @property
    def width(self) -> int:
        """How many floats a series takes: a histogram's buckets, and their sum."""
        return len(self.bounds) + 2 if self.kind == "histogram" else 1


class Cell:
    """One series of a counter or gauge."""

    __slots__ = ("_at", "_cells")

    def __init__(self, cells: "memoryview[float]", at: int) -> None:
        self._cells = cells
        self._at = at

    def add(self, amount: float = 1.0) -> None:
        """Count."""
        self._cells[self._at] += amount

    def set(self, value: float) -> None:
        """Set a gauge; NaN takes it away."""
        self._cells[self._at] = value


class Buckets:
    """One series of a histogram."""

    __slots__ = ("_at", "_bounds", "_cells", "_sum")

    def __init__(self, cells: "memoryview[float]", at: int, bounds: Sequence[float]) -> None:
        self._cells = cells
        self._at = at
        self._bounds = bounds
        self._sum = at + len(bounds) + 1

    def observe(self, value: float) -> None:
        """Count a value."""
        cells = self._cells
        cells[self._at + bisect_left(self._bounds, value)] += 1.0
        cells[self._sum] += value


@dataclass(frozen=True, slots=True)
class Series:
    """What a seat holds of one series."""

    family: Family
    labels: Labels
    values: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Reading:
    """A seat as it is now."""

    seat: int
    alive: bool
    series: tuple[Series, ...]


class Seat:
    """The place of one worker. Not for threads: the event loop alone writes here."""

    def __init__(self, number: int, file: int, free: Callable[[], None]) -> None:
        self.number = number
        self._file = file
        self._free = free
        self._start = number * _SEAT
        if not any(os.pread(file, _CELLS, self._start)):
            # Written, not merely made so long: on a disk that is full by then, an addition would kill the process.
            os.pwrite(file, bytes(_CELLS), self._start)
        self._memory = mmap.mmap(file, _CELLS, offset=self._start)
        self._cells = memoryview(self._memory).cast("d")
        self._at: dict[tuple[str, Labels], int] = {}
        self._next = _FIRST
        for name, kind, labels, at, width in _listed(file, self._start, self._cells):
            self._at[name, labels] = at
            self._next = max(self._next, at + width)
            if kind == "gauge":
                self._cells[at] = math.nan  # of the worker that sat here before
        self.beat()

    def beat(self) -> None:
        """Say that this worker lives: its gauges count for a while."""
        self._cells[_HEARTBEAT] = time.monotonic()

    def cell(self, family: Family, labels: Labels = ()) -> Cell:
        """Return a series of a counter, which begins at 0, or of a gauge."""
        return Cell(self._cells, self._place(family, labels))

    def buckets(self, family: Family, labels: Labels = ()) -> Buckets:
        """Return a series of a histogram."""
        return Buckets(self._cells, self._place(family, labels), family.bounds)

    def close(self) -> None:
        """Leave the seat to another; what was counted stays."""
        self._cells[_HEARTBEAT] = -math.inf
        self._file = -1
        self._free()

    def _place(self, family: Family, labels: Labels) -> int:
        assert len(labels) == len(family.labels), family.name
        at = self._at.get((family.name, labels))
        if at is None:
            at = self._next
            line = json.dumps([family.name, family.kind, labels, at, family.width]).encode() + b"\n"
            listed = int(self._cells[_LISTED])
            if at + family.width > CAPACITY - _SPILL or _CELLS + listed + len(line) > _SEAT:
                return CAPACITY - _SPILL
            try:
                os.pwrite(self._file, line, self._start + _CELLS + listed)
            except OSError:  # the disk is full; or the seat was left, and what is counted now nobody reads
                return CAPACITY - _SPILL
            self._cells[_LISTED] = listed + len(line)
            self._next += family.width
            self._at[family.name, labels] = at
        return at


class Board:
    """The seats of one `sealwright serve`. Made by the process that starts the workers, and handed to each of them."""

    def __init__(self, file: int | None = None) -> None:
        self._file = _without_name() if file is None else file
        self._taken: set[int] = set()  # by this process: its own locks do not keep it out

    def __reduce__(self) -> tuple[Callable[[Any], "Board"], tuple[Any]]:
        """Go with a process that is being started."""
        return _arrived, (DupFd(self._file),)

    def take_seat(self) -> Seat:
        """Sit down at the first seat whose worker is gone, or a new one."""
        number = next(number for number in count() if number not in self._taken and self._lock(number))
        self._taken.add(number)
        return Seat(number, self._file, partial(self._free, number))

    def read(self, families: Mapping[str, Family]) -> list[Reading]:
        """Read every seat. Of a worker that is gone, or stuck, the counts are there and the gauges are not."""
        seats = -(-os.fstat(self._file).st_size // _SEAT)
        return [_reading(self._file, number, families) for number in range(seats)]

    def _lock(self, number: int) -> bool:
        # For as long as this process lives, whatever ends it.
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, number * _SEAT)
        except (BlockingIOError, PermissionError):  # POSIX leaves the choice
            return False
        return True

    def _free(self, number: int) -> None:
        self._taken.discard(number)
        fcntl.lockf(self._file, fcntl.LOCK_UN, 1, number * _SEAT)


def _without_name() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("sealwright-counts")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _arrived(file: Any) -> Board:
    return Board(file.detach())


def _reading(file: int, number: int, families: Mapping[str, Family]) -> Reading:
    start = number * _SEAT
    read = os.pread(file, _CELLS, start)
    if len(read) != _CELLS:
        return Reading(number, alive=False, series=())  # it is just being made
    cells = memoryview(read).cast("d")
    alive = time.monotonic() - cells[_HEARTBEAT] < FRESH_FOR
    series = []
    for name, _, labels, at, width in _listed(file, start, cells):
        family = families.get(name)
        # One that this release does not know, or knows otherwise: of a worker that runs another one.
        if family is None or family.width != width or len(family.labels) != len(labels):
            continue
        values = tuple(cells[at : at + width])
        if family.kind != "gauge" or (alive and not math.isnan(values[0])):
            series.append(Series(family, labels, values))
    return Reading(number, alive, tuple(series))


def _listed(
    file: int, start: int, cells: "memoryview[float]"
) -> Iterator[tuple[str, Kind, Labels, int, int]]:
    for line in os.pread(file, int(cells[_LISTED]), start + _CELLS).splitlines():
        name, kind, labels, at, width = json.loads(line)
        yield name, kind, tuple(labels), at, width
