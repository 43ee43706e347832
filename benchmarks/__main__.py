"""`make bench`: what each operation costs, beside what it cannot do without; `make bench-compare`: whether more now.

The tables are explained in docs/performance.md.
"""

import argparse
import math
import sys
from collections.abc import Collection

from benchmarks import machine, starting
from benchmarks.comparison import LOSS, TRIES, confirmed
from benchmarks.counting import counts
from benchmarks.measuring import EVERYTHING, bench, told
from benchmarks.result import Result, ratios, stored_ratios
from benchmarks.stack import Ground, prepared


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=1.2, help="of one operation in one round")
    parser.add_argument(
        "--starts", type=int, default=5, help="how often the service is started; 0: not at all"
    )
    parser.add_argument("--only", nargs="+", default=EVERYTHING, choices=EVERYTHING, metavar="OPERATION")
    parser.add_argument("--set", nargs="+", default=[], help="settings: access_log=on", metavar="NAME=VALUE")
    parser.add_argument("--compare", action="store_true", help="compare with the stored result instead")
    parser.add_argument("--record", action="store_true", help="store the result, and put it into the page")
    asked = parser.parse_args()
    if asked.record and (set(asked.only) != set(EVERYTHING) or not asked.starts):
        parser.error("--record keeps a whole result")
    return asked


def main() -> None:
    """Measure, and print; or compare, and fail."""
    asked = arguments()
    with prepared(dict(each.split("=", 1) for each in asked.set)) as ground:
        if asked.compare:
            compare(ground, asked)
            return
        result = measured(ground, asked)
    print(result.markdown())
    if asked.record:
        result.save()


def measured(ground: Ground, asked: argparse.Namespace) -> Result:
    """Measure everything that is asked for."""
    with bench(ground, asked.seconds) as running:
        samples = running.rounds(asked.rounds, asked.only)
        told("counting statements and calls")
        counted = counts(running, asked.only)
        others = {"memory of a worker after load": starting.worker_memory(running.stack)}
    if asked.starts:
        told("starting, and starting again")
        others["`serve` to ready"] = starting.seconds_to_serve(ground.deployment, asked.starts)
        others["`make run` to ready"] = starting.seconds_to_run(asked.starts)
    return Result(machine.described(ground.servers), samples, counted, others)


def compare(ground: Ground, asked: argparse.Namespace) -> None:
    """Fail if a ratio is lost, and stays so."""
    # Without --only all that is stored has to be there, or it is lost.
    stored = {
        name: ratio
        for name, ratio in stored_ratios().items()
        if asked.only is EVERYTHING or operation_of(name) in asked.only
    }
    with bench(ground, asked.seconds) as running:

        def look(names: Collection[str]) -> dict[str, float]:
            operations = {operation_of(name) for name in names}.intersection(EVERYTHING)
            return ratios(running.rounds(asked.rounds, operations))

        first = look(stored)
        losses = confirmed(stored, first, look)
    for name, before in stored.items():
        now = first.get(name, math.inf)
        print(f"{name:22} {before:8.2f} → {now:8.2f}  {now / before - 1:+.0%}")
    if losses:
        said = ", ".join(f"{name} by {factor - 1:.0%}" for name, factor in losses.items())
        sys.exit(f"lost, more than {LOSS - 1:.0%}, and measured {TRIES + 1} times: {said}")


def operation_of(ratio: str) -> str:
    """Return what has to be measured for it."""
    return ratio.removesuffix(" in Postgres")


if __name__ == "__main__":
    main()
