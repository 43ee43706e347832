"""The folder of the servers: who may use it now, and what must survive a restart."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from service.embedded.errors import BusyError, EmbeddedError

_DYING = 8.0
"""Seconds within which an earlier run's servers are gone after their parent."""


@dataclass(frozen=True)
class Memory:
    """What is kept between runs."""

    password: str
    postgres_port: int | None = None
    redis_port: int | None = None

    def __repr__(self) -> str:
        """Tell nothing: there is a password inside."""
        return "Memory(…)"


def prepare(directory: Path) -> Path:
    """Make the folder, for this user alone, and give its full path."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"{directory} cannot be made: {error.strerror}") from None
    directory = directory.resolve()
    if not os.access(directory, os.W_OK | os.X_OK):
        raise EmbeddedError(f"{directory} belongs to another user; remove it or run as that user")
    return directory


@contextmanager
def claimed(directory: Path) -> Iterator[int]:
    """Hold the folder against a second program; gives the lock that the servers are to inherit.

    There are two locks. The first is the program's and falls with it, so a held one means a live program.
    The second is inherited by the servers and free again only when the last of them is gone.

    Raises:
        BusyError: another program holds the folder.
    """
    with (directory / "lock").open("a+") as mine, (directory / "servers.lock").open("a+") as theirs:
        try:
            fcntl.flock(mine, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mine.seek(0)
            holder = mine.read().strip()
            raise BusyError(
                f"{directory} is in use by another `sealwright dev` (process {holder}): stop that one first"
            ) from None
        mine.truncate(0)
        mine.write(f"{os.getpid()}\n")
        mine.flush()
        if not _locked_within(theirs.fileno(), _DYING):
            _end_leftovers(directory)
            if not _locked_within(theirs.fileno(), _DYING):
                raise EmbeddedError(f"servers of an earlier run are still running in {directory}: end them")
        yield theirs.fileno()


def _locked_within(lock: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.02)
        else:
            return True


def _end_leftovers(directory: Path) -> None:
    for pidfile in (directory / "postgres/postmaster.pid", directory / "redis/redis.pid"):
        pid = owned_pid(pidfile)
        if pid is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, 9)


def owned_pid(pidfile: Path) -> int | None:
    """Read a pid file, and trust it only if that process is provably the folder's server: it works there.

    Where there is no /proc, nothing can be proved and nothing is claimed.
    """
    try:
        pid = int(pidfile.read_text().split("\n", 1)[0])
        works_here = os.path.samestat(Path(f"/proc/{pid}/cwd").stat(), pidfile.parent.stat())
    except (OSError, ValueError):
        return None
    return pid if works_here else None


def recall(directory: Path) -> Memory | None:
    """Read what the last run left; None where there is nothing that can be read."""
    try:
        kept = json.loads((directory / "servers.json").read_text())
        return Memory(str(kept["password"]), kept.get("postgres_port"), kept.get("redis_port"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def remember(directory: Path, memory: Memory) -> None:
    """Keep it for the next run, readable for this user alone."""
    write_private(directory / "servers.json", json.dumps(asdict(memory)))


def write_private(path: Path, text: str) -> None:
    """Write a file of mode 0600 at once or not at all."""
    draft = path.with_name(path.name + ".new")
    draft.unlink(missing_ok=True)
    draft.touch(mode=0o600, exist_ok=False)
    draft.write_text(text)
    draft.replace(path)


def new_memory() -> Memory:
    """Begin, with a password that nobody knows."""
    return Memory(secrets.token_urlsafe(24))
