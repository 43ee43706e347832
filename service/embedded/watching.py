"""The parent's side of the watcher: questions, answers, goodbye."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from service.embedded.binaries import CLEAN_ENVIRONMENT, Account
from service.embedded.errors import EmbeddedError

_PROGRAM = Path(__file__).with_name("watcher.py")
_GOODBYE = 30
"""Seconds: longer than the watcher gives the servers."""


class Watcher:
    """Holds the servers; safe to ask from several threads."""

    def __init__(self, lock: int, log: Path) -> None:
        with log.open("wb") as errors:
            self._process = subprocess.Popen(  # noqa: S603  # our own program
                # By path, isolated and without site: it starts in 20 ms and needs no package.
                [sys.executable, "-I", "-S", str(_PROGRAM), str(os.getpid()), str(lock)],
                cwd="/",
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                start_new_session=True,
                pass_fds=[lock],
            )
        self._turn = threading.Lock()

    @property
    def pid(self) -> int:
        """The watcher's process id."""
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether the watcher is still there; without it there are no servers either."""
        return self._process.poll() is None

    def run(
        self,
        name: str,
        argv: Sequence[str],
        *,
        directory: Path,
        log: Path,
        polite: signal.Signals,
        account: Account | None = None,
        stdin: str = "",
    ) -> int:
        """Start a server and give its pid.

        Raises:
            EmbeddedError: it could not be started at all.
        """
        answer = self._ask(
            do="run",
            name=name,
            argv=list(argv),
            cwd=str(directory),
            env=CLEAN_ENVIRONMENT,
            log=str(log),
            signal=polite,
            account=account and (account.user, account.group),
            stdin=stdin,
        )
        if "error" in answer:
            raise EmbeddedError(f"{name} could not be started: {answer['error']}")
        pid: int = answer["pid"]
        return pid

    def exit_code(self, name: str) -> int | None:
        """How a server ended; None while it runs, negative for a signal."""
        code: int | None = self._ask(do="look", name=name)["code"]
        return code

    def end(self, name: str) -> None:
        """Stop a server in order, and wait for it."""
        self._ask(do="end", name=name)

    def kill(self, name: str) -> None:
        """Kill a server with SIGKILL, and wait for it."""
        self._ask(do="kill", name=name)

    def dismiss(self) -> None:
        """Stop every server in order, then the watcher."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(b'{"do": "goodbye"}\n')
            self._process.stdin.flush()
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            self._process.wait(_GOODBYE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()

    def _ask(self, **command: Any) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with self._turn:
            try:
                self._process.stdin.write(json.dumps(command).encode() + b"\n")
                self._process.stdin.flush()
            except OSError:
                raise EmbeddedError("the process that watches the embedded servers is gone") from None
            answer = self._process.stdout.readline()
        if not answer:
            raise EmbeddedError("the process that watches the embedded servers is gone")
        result: dict[str, Any] = json.loads(answer)
        return result
