"""`make test-faults`: a run for each seed, a table of them, and all about each violation; fails if there is one."""

import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.faults.plan import draw
from tests.faults.run import run
from tests.faults.telling import HEAD, line, row, told


def seeds(words: list[str]) -> Iterator[int]:
    """Read `1-30 41`."""
    for word in words:
        first, _, last = word.partition("-")
        yield from range(int(first), int(last or first) + 1)


def main() -> int:
    """Run them all."""
    print(line(HEAD))
    print(line(["---"] * len(HEAD)))
    harms: Counter[str] = Counter()
    violations = calls = 0
    began = time.monotonic()
    for seed in seeds(sys.argv[1:]):
        done = run(draw(seed))
        print(line(row(done)), flush=True)
        for said in told(done):
            print(said, flush=True)
        if done.violations:
            log = Path(tempfile.gettempdir()) / f"sealwright-faults-{seed}.log"
            log.write_text(done.log)
            print(f"the service's log: {log}", flush=True)
        harms.update(harm.what for harm in done.history.harms if not harm.single)
        calls += len(done.history.calls)
        violations += len(done.violations)
    print(
        f"\n{calls} calls in {time.monotonic() - began:.0f} s, {violations} violations; harm that was done:"
    )
    for what, count in harms.most_common():
        print(f"  {count:4} x {what}")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
