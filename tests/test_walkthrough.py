"""`make demo`: two services, from signing in to signed out."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pages import ROOT

STEPS = ["A token", "Calls", "Refresh", "A new signing key", "The issuer is away", "Signed out"]


@pytest.mark.timeout(300)
def test_the_demo_goes_through_all_steps_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert [line for line in done.stdout.splitlines() if line in STEPS] == STEPS
    assert re.search(r"orders refuses her token +401 +[\d,]+ ms", done.stdout), done.stdout
    assert re.search(r"there is no way back +400", done.stdout), done.stdout
    assert_nothing_left(tmp_path)


@pytest.mark.timeout(300)
def test_a_demo_that_is_stopped_fails_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = [sys.executable, str(ROOT / "examples" / "demo.py")]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        assert running.stdout is not None
        running.stdout.readline()  # everything runs by now

        running.terminate()
        _, said = running.communicate(timeout=120)

    assert (running.returncode, said) == (1, b"\nStopped.\n")
    assert_nothing_left(tmp_path)


def assert_nothing_left(folder: Path) -> None:
    assert not [left for left in folder.iterdir() if left.name.startswith("sealwright-demo-")]
    found = subprocess.run(
        ["pgrep", "--full", "--list-full", str(folder)], capture_output=True, text=True, check=False
    )
    assert found.stdout == ""
