"""`make bench`: what each operation costs, beside what it cannot do without; `make bench-compare`: whether more now.

The tables are explained in docs/performance.md.
"""

import argparse
import sys
from collections.abc import Collection

from benchmarks import machine, starting
from benchmarks.comparison import LOSS, confirmed
from benchmarks.counting import counts
from benchmarks.measuring import bench, told
from benchmarks.result import Result, ratios, stored_ratios
from benchmarks.stack import Ground, prepared


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=7, help="how often everything is measured")
    parser.add_argument("--seconds", type=float, default=1.2, help="of one operation in one round")
    parser.add_argument("--starts", type=int, default=5, help="how often the service is started")
    parser.add_argument("--compare", action="store_true", help="compare with the stored result instead")
    parser.add_argument("--record", action="store_true", help="store the result, and put it into the page")
    parser.add_argument(
        "--set", action="append", default=[], help="a setting: access_log=on", metavar="NAME=VALUE"
    )
    return parser.parse_args()


def main() -> None:
    """Measure, and print; or compare, and fail."""
    asked = arguments()
    settings = dict(each.split("=", 1) for each in asked.set)
    with prepared(settings) as ground:
        if asked.compare:
            compare(ground, asked.rounds, asked.seconds)
            return
        with bench(ground, asked.seconds) as running:
            samples = running.rounds(asked.rounds)
            told("counting statements and calls")
            counted = counts(running)
            memory = starting.worker_memory(running.stack)
        described = machine.described(ground.servers)
        told("starting, and starting again")
        served = starting.seconds_to_serve(ground.deployment, asked.starts)
    others = {
        "`serve` to ready": served,
        "`make run` to ready": starting.seconds_to_run(asked.starts),
        "memory of a worker after load": memory,
    }
    result = Result(described, samples, counted, others)
    print(result.markdown())
    if asked.record:
        result.save()


def compare(ground: Ground, rounds: int, seconds: float) -> None:
    """Fail if a ratio is lost, and stays so."""
    stored = stored_ratios()
    with bench(ground, seconds) as running:

        def again(names: Collection[str]) -> dict[str, float]:
            print(f"measured again: {', '.join(names)}")
            return ratios(running.rounds(rounds, {name.removesuffix(" in Postgres") for name in names}))

        measured = ratios(running.rounds(rounds))
        losses = confirmed(stored, measured, again)
    for name, before in stored.items():
        print(f"{name:25} {before:8.2f} → {measured[name]:8.2f}  {measured[name] / before - 1:+.0%}")
    for name, factor in losses.items():
        print(f"lost: {name}, by {factor - 1:.0%}", file=sys.stderr)
    if losses:
        sys.exit(
            f"more than {LOSS - 1:.0%} slower than benchmarks/result.json; docs/performance.md tells more"
        )


if __name__ == "__main__":
    main()
