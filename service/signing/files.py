"""The folder of keys: `ring.json`, one `<kid>.pem` a private key, and `.lock` for whoever changes them."""

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from service.signing import folder, signer
from service.signing.changes import Change, Plan
from service.signing.entries import (
    Damaged,
    Entry,
    KeyRingError,
    dump,
    moved,
    moved_to,
    parse,
    require_moved,
    require_same,
)


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
    folder.check(keys_dir)
    try:
        return folder.read(path, forbidden=0o022, advice="chmod 644")
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
        return folder.read(private_path(keys_dir, kid), forbidden=0o077, advice="chmod 600")
    except FileNotFoundError:
        return None


def change(keys_dir: Path, plan: Plan, *, begin: bool = False) -> Change:
    """Carry out a plan under the folder's lock; with `begin`, make the folder and its first ring if need be.

    Raises:
        KeyRingError: the plan refuses, or the folder cannot be used.
    """
    if begin:
        folder.make(keys_dir)
    else:
        read_ring(keys_dir)  # its words are better than those of a lock that cannot be opened
    with folder.locked(keys_dir):
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
    folder.write(ring_path(keys_dir), dump(entries, moved_to=moved_to), 0o644)


def problem_writing(keys_dir: Path) -> str | None:
    """Say why this process cannot change the ring; None if it can."""
    if os.access(keys_dir, os.W_OK | os.X_OK):
        return None
    return f"{keys_dir} is not writable here, so keys do not rotate by themselves: run sealwright keys rotate"


def write_private(keys_dir: Path, kid: str, pem: bytes) -> None:
    """Write a private key that only the folder's owner can read. Raises KeyRingError."""
    folder.write(private_path(keys_dir, kid), pem, 0o600)


def hand_over(keys_dir: Path, to: str | None) -> tuple[tuple[Entry, ...], dict[str, bytes]]:
    """Return the ring and its private keys, and let nobody change it here any more; None: let them again.

    Raises KeyRingError.
    """
    read_ring(keys_dir)
    with folder.locked(keys_dir):
        entries = read_entries(keys_dir)
        private = {e.kid: pem for e in entries if (pem := read_private(keys_dir, e.kid)) is not None}
        write_ring(keys_dir, entries, moved_to=to)
    return entries, private


def receive(keys_dir: Path, entries: Sequence[Entry], private: Mapping[str, bytes]) -> None:
    """Take in a ring that was handed over, where there is none or one that was handed over itself.

    Raises KeyRingError.
    """
    folder.make(keys_dir)
    with folder.locked(keys_dir):
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
    read_ring(keys_dir)
    with folder.locked(keys_dir):
        require_moved(ring_path(keys_dir), read_ring(keys_dir))
        kids = privates(keys_dir)
        for kid in kids:
            destroy_private(keys_dir, kid)
    return len(kids)


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
        folder.sync(keys_dir)
    except FileNotFoundError:
        return
    except OSError as error:
        raise folder.unwritable(path, error) from None


def strays(keys_dir: Path, entries: Sequence[Entry]) -> list[Path]:
    """Return private keys that the ring does not know: a killed command left them, or somebody's hand."""
    listed = {private_path(keys_dir, entry.kid) for entry in entries}
    return sorted(path for path in keys_dir.glob("*.pem*") if path not in listed)


def _raw_or_none(keys_dir: Path) -> bytes | None:
    with suppress(FileNotFoundError):
        ring_path(keys_dir).lstat()
        return read_ring(keys_dir)
    return None
