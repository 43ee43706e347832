"""A folder whose files its owner or root has written: read with suspicion, written whole, changed by one at a time."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.settings import PREFIX
from service.signing.entries import KeyRingError

_LOCK_WAIT = 5.0
# Seconds. Well below the policy's pickup: the time that a change carries was read before the lock was waited for.


def make(keys_dir: Path) -> None:
    """Make it, if need be. Raises KeyRingError."""
    try:
        keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyRingError(f"{keys_dir} cannot be made ({error.strerror}).") from None


@contextmanager
def locked(keys_dir: Path) -> Iterator[None]:
    """Keep all others that would change the folder out, on every machine that has it mounted.

    flock(2): the kernel lets go when the process ends, however it ends. Linux carries it over NFS.

    Raises:
        KeyRingError: the folder cannot be written, anybody can write it, or somebody else holds it for too long.
    """
    check(keys_dir)
    path = keys_dir / ".lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise unwritable(path, error) from None
    try:
        _give_to_owner(fd, keys_dir)
        _wait_for(fd, path)
        yield
    finally:
        os.close(fd)


def _wait_for(fd: int, path: Path) -> None:
    deadline = time.monotonic() + _LOCK_WAIT
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise KeyRingError(
                    f"{path}: another command is changing the keys. Try again once it is done."
                ) from None
            time.sleep(0.02)
        except OSError as error:
            raise KeyRingError(
                f"{path} cannot be locked ({error.strerror}): the keys need a file system with flock."
            ) from None
        else:
            return


def check(keys_dir: Path) -> None:
    """Refuse a folder that is none, or that everybody can write. Raises KeyRingError."""
    try:
        mode = keys_dir.stat().st_mode
    except OSError:
        mode = 0
    if not stat.S_ISDIR(mode):
        raise KeyRingError(
            f"{keys_dir} is no directory. Run: sealwright keys generate; "
            f"or set {PREFIX}KEYS_DIR to where the keys are."
        )
    if mode & stat.S_IWOTH and not mode & stat.S_ISVTX:
        # Whoever can rename files in it can put a ring of their own in place of ours, whatever our files' modes.
        # In a sticky folder nobody can (a Kubernetes Secret is mounted so), and files have their owner checked.
        raise KeyRingError(
            f"{keys_dir} can be written by everybody (mode {stat.S_IMODE(mode):04o}). "
            f"Run: chmod o-w {keys_dir}"
        )


def read(path: Path, *, forbidden: int, advice: str) -> bytes:
    """Read a file that is its owner's or root's, and whose mode has none of the `forbidden` bits.

    Raises:
        FileNotFoundError: there is none.
        KeyRingError: it cannot be read, or not be trusted; `advice` is the command that sets its mode right.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe in its place must not stop us
        with os.fdopen(fd, "rb") as file:
            status = os.fstat(fd)
            if not stat.S_ISREG(status.st_mode):
                raise KeyRingError(
                    f"{path} is not a file. Move it away and restore the file from your backup."
                )
            _check_owner(path, status.st_uid)
            if status.st_mode & forbidden:
                raise KeyRingError(
                    f"{path} is open to others than its owner (mode {stat.S_IMODE(status.st_mode):04o}). "
                    f"Run: {advice} {path}"
                )
            return file.read()
    except FileNotFoundError:
        raise
    except OSError as error:
        raise KeyRingError(
            f"{path} cannot be read ({error.strerror}). Make the user that the service runs as its owner; "
            f"then run: {advice} {path}"
        ) from None


def _check_owner(path: Path, owner: int) -> None:
    # A folder that its group can write (Kubernetes' fsGroup) lets its members put files there, but not give them away.
    folders = path.parent.stat().st_uid
    if owner not in {0, os.geteuid(), folders}:
        raise KeyRingError(
            f"{path} belongs to user {owner}, neither to root, nor to the user that this runs as, nor to the owner "
            f"of {path.parent}. Make sure that nobody has changed it; then run: chown {folders} {path}"
        )


def write(path: Path, data: bytes, mode: int) -> None:
    """Replace a file, all at once and on disk. Raises KeyRingError."""
    # Nobody ever sees half a file: written beside it, on disk, then renamed over it.
    fresh = path.with_name(path.name + ".new")
    try:
        fresh.unlink(missing_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        with os.fdopen(fd, "wb") as file:
            os.fchmod(fd, mode)  # whatever the umask
            _give_to_owner(fd, path.parent)
            file.write(data)
            file.flush()
            os.fsync(fd)
        fresh.replace(path)
        sync(path.parent)
    except OSError as error:
        raise unwritable(path, error) from None


def _give_to_owner(fd: int, keys_dir: Path) -> None:
    # A command run by root must not leave keys behind that the service's own user cannot read.
    owner = keys_dir.stat()
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def sync(keys_dir: Path) -> None:
    """Wait until the disk has the folder as it is."""
    fd = os.open(keys_dir, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def unwritable(path: Path, error: OSError) -> KeyRingError:
    """Return what to say of a file that could not be written."""
    return KeyRingError(
        f"{path} cannot be written ({error.strerror}). "
        f"Run this as the owner of {path.parent}, where it is writable."
    )
