"""Counts that several worker processes write and anybody reads: right across them, and across their deaths.

Each worker has a seat: a file mapped into memory, in which every series is a float or a few, and beside it a
list that says which. Adding to a series is one addition in memory, without a lock, because only the worker's
event loop writes. A worker that is killed leaves what it counted; the one that takes its place goes on from there.
"""

import fcntl
import json
import math
import mmap
import os
import time
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Kind = Literal["counter", "gauge", "histogram"]
Labels = tuple[str, ...]

CAPACITY = 8 * 1024
"""Floats of one seat: some thousands of series. The labels' values are closed sets; this is for the day one is not."""

FRESH_FOR = 5.0
"""Seconds for which a worker's gauges count without a new heartbeat."""

_SIZE = 8
_HEARTBEAT = 0
_FIRST = 1
_SPILL = 64
"""Floats at the end of a seat, where series go for which there is no more room: nobody reads them."""

_SUFFIX = ".cells"


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

    def __init__(self, number: int, path: Path, file: int) -> None:
        self.number = number
        self._file = file  # holds the lock for as long as this process lives
        # Written, not merely made so long: on a disk that is full by then, an addition would kill the process.
        os.write(file, b"\0" * (CAPACITY * _SIZE - os.lseek(file, 0, os.SEEK_END)))
        self._memory = mmap.mmap(file, CAPACITY * _SIZE)
        self._cells = memoryview(self._memory).cast("d")
        self._list = os.open(_list_of(path), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        self._at: dict[tuple[str, Labels], int] = {}
        self._next = _FIRST
        for name, kind, labels, at, width in _listed(path):
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
        fcntl.flock(self._file, fcntl.LOCK_UN)
        os.close(self._list)
        os.close(self._file)
        self._list = self._file = -1

    def _place(self, family: Family, labels: Labels) -> int:
        assert len(labels) == len(family.labels), family.name
        at = self._at.get((family.name, labels))
        if at is None:
            at = self._next
            if at + family.width > CAPACITY - _SPILL:
                return CAPACITY - _SPILL
            line = json.dumps([family.name, family.kind, labels, at, family.width])
            try:
                os.write(self._list, line.encode() + b"\n")
            except OSError:  # the disk is full; or the seat was left, and what is counted now nobody reads
                return CAPACITY - _SPILL
            self._next += family.width
            self._at[family.name, labels] = at
        return at


def take_seat(directory: Path) -> Seat:
    """Sit down at the first seat whose worker is gone, or a new one."""
    number = 0
    while True:
        path = directory / f"{number}{_SUFFIX}"
        file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(file)
            number += 1
        else:
            return Seat(number, path, file)


def read(directory: Path, families: Mapping[str, Family]) -> list[Reading]:
    """Read every seat. Of a worker that is gone, or stuck, the counts are there and the gauges are not."""
    return [_reading(path, families) for path in sorted(directory.glob(f"*{_SUFFIX}"))]


def _reading(path: Path, families: Mapping[str, Family]) -> Reading:
    cells = memoryview(path.read_bytes()).cast("d")
    if len(cells) != CAPACITY:
        return Reading(int(path.stem), alive=False, series=())  # it is just being made
    alive = time.monotonic() - cells[_HEARTBEAT] < FRESH_FOR
    series = []
    for name, _, labels, at, width in _listed(path):
        family = families.get(name)
        # One that this release does not know, or knows otherwise: of a worker that runs another one.
        if family is None or family.width != width or len(family.labels) != len(labels):
            continue
        values = tuple(cells[at : at + width])
        if family.kind != "gauge" or (alive and not math.isnan(values[0])):
            series.append(Series(family, labels, values))
    return Reading(int(path.stem), alive, tuple(series))


def _listed(path: Path) -> Iterator[tuple[str, Kind, Labels, int, int]]:
    try:
        lines = _list_of(path).read_bytes().split(b"\n")
    except FileNotFoundError:
        return
    for line in lines[:-1]:
        name, kind, labels, at, width = json.loads(line)
        yield name, kind, tuple(labels), at, width


def _list_of(path: Path) -> Path:
    return path.with_suffix(".series")
