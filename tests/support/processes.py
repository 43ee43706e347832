"""Looking at processes, and waiting for them with a bound."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def is_running(pid: int) -> bool:
    """Whether the process is there and not merely unburied."""
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat")
        return not Path("/proc/self").exists() or status.read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def eventually(condition: Callable[[], bool], *, within: float) -> None:
    """Wait until it holds, so many seconds at most."""
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline, f"not within {within} s"
        time.sleep(0.02)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """Stop a process and its children, as a machine that hangs would: connections stay, and nobody answers."""
    os.kill(pid, signal.SIGSTOP)  # first, so that it has no more children
    family = [pid, *children(pid)]
    try:
        for each in family[1:]:
            os.kill(each, signal.SIGSTOP)
        yield
    finally:
        for each in family:
            os.kill(each, signal.SIGCONT)


def children(pid: int) -> list[int]:
    """The processes that a process has started."""
    found = subprocess.run(["pgrep", "-P", str(pid)], capture_output=True, text=True, check=False)
    return [int(child) for child in found.stdout.split()]


def resident(pid: int) -> int:
    """Bytes of a process's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def descriptors(pid: int) -> int:
    """How many file descriptors a process has open."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))
