"""The folder of keys: `ring.json`, one `<kid>.pem` a private key, and `.lock` for whoever changes them."""

import fcntl
import os
import stat
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from service.settings import PREFIX
from service.signing import signer
from service.signing.changes import Change, Plan
from service.signing.entries import Damaged, Entry, KeyRingError, dump, moved_to, parse

_LOCK_WAIT = 5.0
# Seconds. Well below the policy's pickup: the time that a change carries was read before the lock was waited for.


def ring_path(keys_dir: Path) -> Path:
    """Return where the ring is written."""
    return keys_dir / "ring.json"


def private_path(keys_dir: Path, kid: str) -> Path:
    """Return where the private half of a key is."""
    return keys_dir / f"{kid}.pem"


def read_ring(keys_dir: Path) -> bytes:
    """Read `ring.json`.

    Raises:
        KeyRingError: it is missing, unreadable, or others could have changed it.
    """
    path = ring_path(keys_dir)
    _check_folder(keys_dir)
    try:
        return _read(path, forbidden=0o022, advice="chmod 644")
    except FileNotFoundError:
        restore = ", or restore it from your backup" if any(keys_dir.glob("*.pem")) else ""
        raise KeyRingError(f"{path} does not exist. Run: sealwright keys generate{restore}.") from None


def parse_ring(keys_dir: Path, raw: bytes) -> tuple[Entry, ...]:
    """Parse what `read_ring` read.

    Raises:
        KeyRingError: it is no ring.
    """
    try:
        return parse(raw)
    except Damaged as error:
        raise KeyRingError(
            f"{ring_path(keys_dir)} is unusable: {error}. Restore it from your backup."
        ) from None


def read_entries(keys_dir: Path) -> tuple[Entry, ...]:
    """Read and parse the ring. Raises as both do."""
    return parse_ring(keys_dir, read_ring(keys_dir))


def read_signer(keys_dir: Path, entry: Entry, *, remedy: str) -> signer.Signer:
    """Read the private half of a key.

    Raises:
        KeyRingError: it is missing, unreadable, open to others, another user's, too small or not this key's;
            `remedy` says what to do where the file itself is lost.
    """
    path = private_path(keys_dir, entry.kid)
    pem = read_private(keys_dir, entry.kid)
    if pem is None:
        raise KeyRingError(f"{path} does not exist. {remedy}")
    try:
        return signer.read(pem, entry.key)
    except signer.Unusable as error:
        raise KeyRingError(f"{path} {error}. {remedy}") from None


def read_private(keys_dir: Path, kid: str) -> bytes | None:
    """Read a private key as PEM; None if there is none. Raises KeyRingError as `read_signer`."""
    try:
        return _read(private_path(keys_dir, kid), forbidden=0o077, advice="chmod 600")
    except FileNotFoundError:
        return None


def change(keys_dir: Path, plan: Plan, *, begin: bool = False) -> Change:
    """Carry out a plan under the folder's lock; with `begin`, make the folder and its first ring if need be.

    Raises:
        KeyRingError: the plan refuses, or the folder cannot be used.
    """
    if begin:
        _make_folder(keys_dir)
    else:
        read_ring(keys_dir)  # its words are better than those of a lock that cannot be opened
    with locked(keys_dir):
        raw = _raw_or_none(keys_dir) if begin else read_ring(keys_dir)
        entries = () if raw is None else parse_ring(keys_dir, raw)
        if raw is not None and (store := moved_to(raw)) is not None:
            raise moved(ring_path(keys_dir), store)
        planned = plan(entries)
        # The private half first: a ring never names a key that is not there.
        if planned.made is not None:
            write_private(keys_dir, *planned.made)
        if planned.entries != entries:
            write_ring(keys_dir, planned.entries)
        for kid in planned.gone:
            destroy_private(keys_dir, kid)
        return planned


def write_ring(keys_dir: Path, entries: Sequence[Entry], *, moved_to: str | None = None) -> None:
    """Replace `ring.json`, all at once. Raises KeyRingError."""
    _write(ring_path(keys_dir), dump(entries, moved_to=moved_to), 0o644)


def problem_writing(keys_dir: Path) -> str | None:
    """Say why this process cannot change the ring; None if it can."""
    if os.access(keys_dir, os.W_OK | os.X_OK):
        return None
    return f"{keys_dir} is not writable here, so keys do not rotate by themselves: run sealwright keys rotate"


def write_private(keys_dir: Path, kid: str, pem: bytes) -> None:
    """Write a private key that only the folder's owner can read. Raises KeyRingError."""
    _write(private_path(keys_dir, kid), pem, 0o600)


def hand_over(keys_dir: Path, to: str | None) -> tuple[tuple[Entry, ...], dict[str, bytes]]:
    """Return the ring and its private keys, and let nobody change it here any more; None: let them again.

    Raises KeyRingError.
    """
    read_ring(keys_dir)
    with locked(keys_dir):
        entries = read_entries(keys_dir)
        private = {e.kid: pem for e in entries if (pem := read_private(keys_dir, e.kid)) is not None}
        write_ring(keys_dir, entries, moved_to=to)
    return entries, private


def receive(keys_dir: Path, entries: Sequence[Entry], private: Mapping[str, bytes]) -> None:
    """Take in a ring that was handed over, where there is none or one that was handed over itself.

    Raises KeyRingError.
    """
    _make_folder(keys_dir)
    with locked(keys_dir):
        raw = _raw_or_none(keys_dir)
        if raw is not None and moved_to(raw) is None:
            require_same(ring_path(keys_dir), parse_ring(keys_dir, raw), entries)
            return
        for kid, pem in private.items():
            write_private(keys_dir, kid, pem)
        write_ring(keys_dir, entries)


def empty(keys_dir: Path) -> int:
    """Destroy the private keys that a ring which was handed over has left behind; return how many there were.

    Raises KeyRingError.
    """
    raw = read_ring(keys_dir)
    with locked(keys_dir):
        require_moved(ring_path(keys_dir), raw)
        kids = privates(keys_dir)
        for kid in kids:
            destroy_private(keys_dir, kid)
    return len(kids)


def require_moved(where: object, raw: bytes) -> None:
    """Refuse what is only right for a ring that is changed elsewhere by now. Raises KeyRingError."""
    if moved_to(raw) is None:
        raise KeyRingError(f"{where} has not been moved. Run: sealwright keys move, without --done, first.")


def require_same(where: object, there: Sequence[Entry], coming: Sequence[Entry]) -> None:
    """Refuse to put a ring in place of another one. That it has arrived before, and gone on since, is fine.

    Raises KeyRingError.
    """
    if {entry.kid for entry in there}.isdisjoint(entry.kid for entry in coming):
        raise KeyRingError(f"{where} is another ring already. Move it away first, if nothing uses it.")


def has_private(keys_dir: Path, kid: str) -> bool:
    """Return whether the private half of a key is there."""
    return private_path(keys_dir, kid).exists()


def privates(keys_dir: Path) -> frozenset[str]:
    """Return the kids whose private half is there."""
    return frozenset(path.stem for path in keys_dir.glob("*.pem"))


def destroy_private(keys_dir: Path, kid: str) -> None:
    """Unlink a private key. Raises KeyRingError.

    Not overwritten first: on today's file systems and disks that reaches the old blocks only by luck.
    """
    path = private_path(keys_dir, kid)
    try:
        path.unlink()
        _sync(keys_dir)
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unwritable(path, error) from None


def strays(keys_dir: Path, entries: Sequence[Entry]) -> list[Path]:
    """Return private keys that the ring does not know: a killed command left them, or somebody's hand."""
    listed = {private_path(keys_dir, entry.kid) for entry in entries}
    return sorted(path for path in keys_dir.glob("*.pem*") if path not in listed)


@contextmanager
def locked(keys_dir: Path) -> Iterator[None]:
    """Keep all others that would change the folder out, on every machine that has it mounted.

    flock(2): the kernel lets go when the process ends, however it ends. Linux carries it over NFS.

    Raises:
        KeyRingError: the folder cannot be written, anybody can write it, or somebody else holds it for too long.
    """
    _check_folder(keys_dir)
    path = keys_dir / ".lock"
    try:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise _unwritable(path, error) from None
    try:
        _give_to_owner(fd, keys_dir)
        _wait_for(fd, path)
        yield
    finally:
        os.close(fd)


def moved(where: object, store: str) -> KeyRingError:
    """Return the refusal to change a ring that is changed elsewhere by now."""
    return KeyRingError(f"{where} was moved to {store}. Set {PREFIX}KEY_STORE={store} here too.")


def _make_folder(keys_dir: Path) -> None:
    try:
        keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyRingError(f"{keys_dir} cannot be made ({error.strerror}).") from None


def _raw_or_none(keys_dir: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        ring_path(keys_dir).lstat()
        return read_ring(keys_dir)
    return None


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


def _check_folder(keys_dir: Path) -> None:
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


def _read(path: Path, *, forbidden: int, advice: str) -> bytes:
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


def _write(path: Path, data: bytes, mode: int) -> None:
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
        _sync(path.parent)
    except OSError as error:
        raise _unwritable(path, error) from None


def _give_to_owner(fd: int, keys_dir: Path) -> None:
    # A command run by root must not leave keys behind that the service's own user cannot read.
    owner = keys_dir.stat()
    if os.geteuid() == 0 and os.fstat(fd).st_uid != owner.st_uid:
        os.fchown(fd, owner.st_uid, owner.st_gid)


def _sync(keys_dir: Path) -> None:
    fd = os.open(keys_dir, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _unwritable(path: Path, error: OSError) -> KeyRingError:
    return KeyRingError(
        f"{path} cannot be written ({error.strerror}). "
        f"Run this as the owner of {path.parent}, where it is writable."
    )
