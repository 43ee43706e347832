"""`make fuzz`: everything that is tested with any bytes, again and again with other ones, until the time is over.

    python -m tests.fuzz [SECONDS [SEED]]

Each round has a seed of its own, which it prints; a round that fails is the last, and is repeated by its seed.
"""

import random
import re
import subprocess
import sys
import time

TARGETS = (
    "tests/test_parsers.py",  # forms, JSON, scopes, credentials, published keys
    "tests/test_junk.py",  # connections
    "tests/test_hashes.py",  # password hashes of any origin
    "tests/test_proxies.py",  # addresses that proxies tell
    "tests/test_redaction.py",  # what may stand in a log
    "tests/test_words.py",  # names of scopes, roles, clients
    "verifier/tests/test_any_text.py",  # tokens, keys, answers of the feed
)

_TRIED = re.compile(r"(\d+) passing, (\d+) failing, and (\d+) invalid test cases")


def main() -> None:
    """Run rounds."""
    arguments = [int(argument) for argument in sys.argv[1:]]
    seconds = arguments[0] if arguments else 600
    seed = arguments[1] if len(arguments) > 1 else random.getrandbits(32)
    began, tried, rounds = time.monotonic(), 0, 0
    while rounds == 0 or time.monotonic() - began < seconds:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pytest", "-q", "-m", "hypothesis", "--hypothesis-profile=fuzz"),
                *("--hypothesis-show-statistics", f"--hypothesis-seed={seed + rounds}", *TARGETS),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        tried += sum(int(number) for found in _TRIED.findall(done.stdout) for number in found)
        rounds += 1
        print(f"seed {seed + rounds - 1}: {tried:,} inputs so far", flush=True)
        if done.returncode:
            print(done.stdout + done.stderr)
            print(f"A round has failed. Repeat it: make fuzz FUZZ_SECONDS=1 SEED={seed + rounds - 1}")
            sys.exit(1)
    print(f"{tried:,} inputs in {rounds} rounds, {time.monotonic() - began:.0f} s: no crash")


if __name__ == "__main__":
    main()
