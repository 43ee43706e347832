"""How long a refresh takes when 64 callers hold the same token.

`make bench-crowd`. All present it at the same moment, all must be given the same successor, and then they go on to
the next session. Beside it: as many callers, each with a token of its own.
"""

import argparse
from typing import Literal

from benchmarks import machine
from benchmarks.driving import Job, Measured, drive
from benchmarks.page import put, table
from benchmarks.stack import prepared

CALLERS = 64


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.crowd")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--sessions", type=int, default=200)
    parser.add_argument("--record", action="store_true", help="put the table into the page")
    return parser.parse_args()


def main() -> None:
    """Measure, and print."""
    asked = arguments()
    with prepared({}, hashes=False) as ground, ground.serving() as stack:

        def refreshed(plan: Literal["rotation", "crowd"], sessions: int) -> Measured:
            job = Job.refreshing(stack.sign_in(sessions), plan)
            return drive(stack.port, job, stack.cpu, seconds=asked.seconds, callers=CALLERS)

        apart = refreshed("rotation", max(CALLERS, asked.sessions))
        together = refreshed("crowd", asked.sessions)
        where = machine.line(ground.servers)
    head = [f"{CALLERS} callers", "a second", "p50 ms", "p99 ms", "most ms", "CPU ms", "Postgres ms"]
    printed = table([head, row("a token each", apart), row("one token", together)])
    print(printed)
    if asked.record:
        put("crowd", f"{printed}\n{where}\n")


def row(what: str, seen: Measured) -> list[str]:
    """Return a line of the table."""
    times = [f"{each:.1f}" for each in (seen.p50, seen.p99, seen.most)]
    return [
        what,
        f"{seen.rate:,.0f}",
        *times,
        *(f"{seen.each[part]:.3f}" for part in ("service", "postgres")),
    ]


if __name__ == "__main__":
    main()
