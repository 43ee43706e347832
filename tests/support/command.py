"""`sealwright` as an operator types it: in this process for the many small cases, at a terminal for the prompts."""

import json
import os
import pty
import select
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from service.cli import app
from tests.support.canary import CANARY
from tests.support.deployment import SEALWRIGHT, Deployment

PATIENCE = 20.0


class Command:
    """Runs commands of a deployment in this process: no second interpreter has to start."""

    def __init__(self, deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> None:
        self._monkeypatch = monkeypatch
        self.of(deployment)

    def of(self, deployment: Deployment) -> None:
        """Run the commands of another deployment from now on."""
        self.without_settings(deployment.directory)
        for name, value in deployment.env.items():
            if name.startswith("SEALWRIGHT_"):
                self._monkeypatch.setenv(name, value)

    def without_settings(self, directory: Path) -> None:
        """Run the commands in a folder, without any setting."""
        self._monkeypatch.chdir(directory)
        for name in [name for name in os.environ if name.startswith("SEALWRIGHT_")]:  # noqa: TID251  # to empty it
            self._monkeypatch.delenv(name)

    def __call__(self, *arguments: str, stdin: str = "", code: int = 0) -> Result:
        """Run one; it must end with `code`."""
        result = CliRunner().invoke(app, list(arguments), input=stdin)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        CANARY.hear_command(stdin, result.stdout, result.stderr)
        return result

    def json(self, *arguments: str, stdin: str = "", code: int = 0) -> Any:
        """Run one with --json; what it says on stdout."""
        return json.loads(self(*arguments, "--json", stdin=stdin, code=code).stdout)

    def refused(self, *arguments: str, stdin: str = "") -> str:
        """Run one that must fail with a line on stderr; return it."""
        result = self(*arguments, stdin=stdin, code=1)
        assert result.stdout == ""
        assert result.stderr.count("\n") == 1, result.stderr
        return result.stderr


def at_a_terminal(deployment: Deployment, arguments: Sequence[str], typed: Sequence[str]) -> tuple[str, int]:
    """Run the real command at a terminal, answering each of its prompts; return what was seen, and the exit code."""
    ours, its = pty.openpty()
    process = subprocess.Popen(
        [*SEALWRIGHT, *arguments],
        env=deployment.env,
        cwd=deployment.directory,
        stdin=its,
        stdout=its,
        stderr=its,
        start_new_session=True,  # so that /dev/tty is not the terminal that the tests run at
    )
    os.close(its)
    screen = _Screen(ours)
    try:
        for answer in typed:
            screen.until_asked()
            os.write(ours, answer.encode() + b"\n")
        screen.until_closed()
        return screen.seen.decode(), process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        os.close(ours)


class _Screen:
    """What a terminal shows."""

    def __init__(self, terminal: int) -> None:
        self._terminal = terminal
        self._deadline = time.monotonic() + PATIENCE
        self._answered = 0
        self.seen = b""

    def until_asked(self) -> None:
        # An answer is typed only once its prompt is there: before, the terminal still echoes.
        while not self.seen[self._answered :].endswith(b": "):
            assert self._read(), self.seen
        self._answered = len(self.seen)

    def until_closed(self) -> None:
        while self._read():
            pass

    def _read(self) -> bool:
        ready, _, _ = select.select([self._terminal], [], [], max(0, self._deadline - time.monotonic()))
        assert ready, f"not within {PATIENCE} s; seen: {self.seen!r}"
        try:
            data = os.read(self._terminal, 4096)
        except OSError:  # EIO: nobody has the other side any more
            return False
        self.seen += data
        return bool(data)
