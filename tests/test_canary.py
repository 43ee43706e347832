"""The canary of the whole suite finds what it is there for: see tests/support/canary.py."""

import re
import subprocess
import sys
from os import environ  # noqa: TID251  # a child's
from pathlib import Path

from tests.canary.leaking import PLACES

LEAKING = Path(__file__).parent / "canary" / "leaking.py"


def test_a_secret_that_leaks_fails_the_run_and_is_not_shown(tmp_path: Path) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-p", "no:xdist", "-p", "no:cacheprovider", "-q"),
            *("--basetemp", str(tmp_path / "run"), str(LEAKING)),
        ],
        env={name: value for name, value in environ.items() if not name.startswith("PYTEST")},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )

    assert done.returncode == 1, done.stdout
    assert "1 failed, 3 passed, 1 error" in done.stdout, done.stdout
    for place in (
        r"the answer 400 to GET /: the password",
        r"the log another.log: a token",
        r"a table: the password",
        r"Redis: the password",
    ):
        assert re.search(rf"{place} of tests/canary/leaking.py", done.stdout), done.stdout
    for secret in PLACES.values():
        assert secret not in done.stdout
    assert not re.search(r"eyJ[\w-]{20,}", done.stdout)
