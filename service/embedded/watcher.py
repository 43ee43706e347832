"""The process that holds the servers and ends them as soon as its parent is gone.

Run by path with Python's standard library alone, in a session of its own, so that Ctrl-C in a terminal
reaches only the parent. It obeys one JSON object a line on stdin and answers each with one on stdout.
The parent's death is the end of stdin, or a new parent where a copy of the pipe has survived it.
"""

import ctypes
import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

_LOOK = 0.5
"""Seconds between two looks at who the parent is."""
_ABANDONED = 3.0
"""Seconds that servers get to end in order once the parent is gone."""
_DISMISSED = 20.0
"""The same when the parent waits for it."""
_PR_SET_PDEATHSIG = 1


class _Watcher:
    def __init__(self, parent: int, lock: int) -> None:
        self._parent = parent
        self._lock = lock
        self._children: dict[str, tuple[subprocess.Popen[bytes], signal.Signals]] = {}
        self.patience = _ABANDONED

    def serve(self) -> None:
        """Obey until the parent says goodbye or is gone."""
        pending = b""
        while os.getppid() == self._parent:
            if not select.select([0], [], [], _LOOK)[0]:
                continue
            read = os.read(0, 65536)
            if not read:
                return
            *lines, pending = (pending + read).split(b"\n")
            for line in lines:
                command = json.loads(line)
                if command["do"] == "goodbye":
                    self.patience = _DISMISSED
                    return
                os.write(1, json.dumps(self._obey(command)).encode() + b"\n")

    def _obey(self, command: dict[str, Any]) -> dict[str, Any]:
        name = command["name"]
        if command["do"] == "run":
            try:
                return {"pid": self._run(name, command)}
            except (OSError, subprocess.SubprocessError) as error:
                return {"error": str(error)}
        if name not in self._children:
            return {"code": None}
        process, polite = self._children[name]
        if command["do"] == "look":
            return {"code": process.poll()}
        if command["do"] == "kill":
            process.kill()
            return {"code": process.wait()}
        process.send_signal(polite)
        return {"code": _await(process, time.monotonic() + _DISMISSED)}

    def _run(self, name: str, command: dict[str, Any]) -> int:
        polite = signal.Signals(command["signal"])
        account: dict[str, Any] = {}
        if command["account"] is not None:
            user, group = command["account"]
            account = {"user": user, "group": group, "extra_groups": []}
        with Path(command["log"]).open("ab") as log:
            process = subprocess.Popen(  # noqa: S603  # what the parent asks for
                command["argv"],
                cwd=command["cwd"],
                env=command["env"],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                umask=0o077,
                start_new_session=True,
                # Held until the last server process is gone: the next start waits for it.
                pass_fds=[self._lock],
                preexec_fn=_die_with_parent(polite),  # noqa: PLW1509  # this process has one thread
                **account,
            )
        assert process.stdin is not None
        with process.stdin:
            process.stdin.write(command["stdin"].encode())
        self._children[name] = (process, polite)
        return process.pid

    def end(self) -> None:
        """End every server: in order, and by force those that take too long."""
        for process, polite in self._children.values():
            process.send_signal(polite)
        deadline = time.monotonic() + self.patience
        for process, _ in self._children.values():
            _await(process, deadline)


def _await(process: subprocess.Popen[bytes], deadline: float) -> int:
    try:
        return process.wait(timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def _die_with_parent(polite: signal.Signals) -> Callable[[], None] | None:
    """Make a child, before it becomes a server, ask Linux for a signal should the watcher be killed."""
    if sys.platform != "linux":
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    watcher = os.getpid()

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, polite)
        if os.getppid() != watcher:
            os._exit(1)

    return ask


def _nothing(_signal: int, _frame: object) -> None:
    """Ignore a signal; SIG_IGN would be inherited by the servers."""


def _leave(_signal: int, _frame: object) -> None:
    raise SystemExit


def main() -> None:
    """Watch, until the parent is gone or somebody ends the watcher itself."""
    signal.signal(signal.SIGINT, _nothing)
    signal.signal(signal.SIGHUP, _nothing)
    signal.signal(signal.SIGTERM, _leave)
    watcher = _Watcher(parent=int(sys.argv[1]), lock=int(sys.argv[2]))
    try:
        watcher.serve()
    except BrokenPipeError:
        pass  # the parent went away between its question and our answer
    finally:
        signal.signal(signal.SIGTERM, _nothing)
        watcher.end()


if __name__ == "__main__":
    main()
