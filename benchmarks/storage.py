"""What a million rotations leave behind, and what a million sessions in the table cost.

`make bench-storage`. Over HTTP, on the service with two workers. It fails if the table grows.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

from benchmarks import machine
from benchmarks.driving import Job, drive
from benchmarks.page import put, table
from benchmarks.population import NOTICEABLE, costs
from benchmarks.stack import Ground, Stack, prepared
from tests.support.database import sql

PATIENCE = 86_400.0

SIZES = """
SELECT (SELECT count(*) FROM sessions) AS rows,
       pg_relation_size('sessions') AS heap,
       pg_indexes_size('sessions') AS indexes,
       n_dead_tup AS dead,
       n_tup_hot_upd::float / greatest(n_tup_upd, 1) AS hot,
       (SELECT sum(size)::bigint FROM pg_ls_waldir()) AS kept_wal,
       (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint AS written_wal,
       (SELECT setting::bigint << 20 FROM pg_settings WHERE name = 'max_wal_size') AS max_wal
FROM pg_stat_user_tables WHERE relname = 'sessions'
"""


SLACK = 8 * 8192
"""A few pages: a snapshot that somebody holds for a moment lets a page fill up once."""

HEAD = [
    *("rotations", "rows", "table kB", "indexes kB", "dead rows"),
    *("HOT", "WAL kept MB", "WAL written MB"),
]


@dataclass(frozen=True)
class Sizes:
    """What the table and the write-ahead log take. Bytes."""

    rows: int
    heap: int
    indexes: int
    dead: int
    hot: float
    kept_wal: int
    written_wal: int
    max_wal: int

    @classmethod
    def of(cls, stack: Stack) -> "Sizes":
        """Look."""
        (row,) = sql(stack.deployment.database_url, SIZES)
        return cls(**dict(row))

    @property
    def table(self) -> int:
        """The table with its indexes."""
        return self.heap + self.indexes


def rotations(stack: Stack, sessions: int, count: int, every: int) -> Iterator[tuple[int, Sizes]]:
    """Rotate so many times, each session in its turn; yield how many, and the sizes."""
    tokens = stack.sign_in(sessions)
    yield 0, Sizes.of(stack)
    done = 0
    while done < count:
        job = Job.refreshing(tokens)
        seen = drive(
            stack.port, job, stack.cpu, seconds=PATIENCE, at_most=min(every, count - done), warm_up=0
        )
        tokens, done = seen.tokens, done + seen.answers
        yield done, Sizes.of(stack)


def growth(ground: Ground, sessions: int, count: int, every: int) -> tuple[str, list[str]]:
    """Print how the table fares under rotations; return the table, and what is not as it should be."""
    lines = [HEAD]
    seen: list[tuple[int, Sizes]] = []
    print("  ".join(cell.rjust(14) for cell in HEAD))
    with ground.serving() as stack:
        for done, sizes in rotations(stack, sessions, count, every):
            seen.append((done, sizes))
            lines.append(line(done, sizes, seen[0][1]))
            print("  ".join(cell.rjust(14) for cell in lines[-1]), flush=True)
    return table(lines), grown(seen, sessions)


def line(done: int, sizes: Sizes, first: Sizes) -> list[str]:
    """Return the cells below `HEAD`."""
    whole = (done, sizes.rows, sizes.heap / 1024, sizes.indexes / 1024, sizes.dead)
    wal = (sizes.kept_wal / 2**20, (sizes.written_wal - first.written_wal) / 2**20)
    return [*(f"{each:,.0f}" for each in whole), f"{sizes.hot:.3%}", *(f"{each:,.0f}" for each in wal)]


def grown(seen: list[tuple[int, Sizes]], sessions: int) -> list[str]:
    """Say what is not as it should be."""
    wrong = []
    rows = {sizes.rows for _, sizes in seen}
    if rows != {sessions}:
        wrong.append(f"{sessions:,} sessions have {max(rows):,} rows")
    settled = max(sizes.table for done, sizes in seen if done <= seen[-1][0] / 10 or sizes is seen[1][1])
    largest = max(sizes.table for _, sizes in seen)
    if largest > max(settled * 1.1, settled + SLACK):
        wrong.append(f"the table settled at {settled:,} bytes and has grown to {largest:,}")
    if any(sizes.kept_wal > sizes.max_wal for _, sizes in seen):
        wrong.append("the write-ahead log is larger than max_wal_size")
    return wrong


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.storage")
    parser.add_argument("--rotations", type=int, default=1_000_000, help="0: leave them out")
    parser.add_argument("--sessions", type=int, default=1_000, help="that are rotated, in turns")
    parser.add_argument("--every", type=int, default=50_000, help="rotations between two looks")
    parser.add_argument(
        "--rows", type=int, default=1_000_000, help="other sessions in the table; 0: leave it out"
    )
    parser.add_argument("--rounds", type=int, default=8, help="of the small and the large table, in turns")
    parser.add_argument("--record", action="store_true", help="put the tables into the page")
    return parser.parse_args()


def main() -> None:
    """Rotate; then fill the table."""
    asked = arguments()
    wrong: list[str] = []
    if asked.rotations:
        with prepared({}, hashes=False) as ground:
            rotated, wrong = growth(ground, asked.sessions, asked.rotations, asked.every)
            where = machine.line(ground.servers)
        if asked.record:
            put("rotations", f"{rotated}\n{where}\n")
    if asked.rows:
        with prepared({}, hashes=False) as ground:
            filled, changes = costs(ground, asked.sessions, asked.rows, asked.rounds)
            where = machine.line(ground.servers)
        print(f"\n{filled}")
        if asked.record:
            put("sessions", f"{filled}\n{where}\n")
        wrong += [
            f"{what} changes by {change:+.0%}" for what, change in changes.items() if change > NOTICEABLE
        ]
    if wrong:
        sys.exit("\n".join(wrong))


if __name__ == "__main__":
    main()
