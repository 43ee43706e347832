"""The commands on the ring: each reads it, decides and writes it under one lock.

`now` is the present moment; it is an argument so that tests can choose it.
"""

from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from sealwright import Algorithm
from service.signing import files, rules, signer
from service.signing.entries import Entry, KeyRingError
from service.signing.rules import Policy

_Entries = tuple[Entry, ...]


def generate(keys_dir: Path, algorithm: Algorithm, now: datetime) -> Entry:
    """Make a key and publish it as the next one; make the folder, too, if need be.

    The first key of a ring signs at once: nobody has cached a JWKS.

    Raises:
        KeyRingError: there is a next key already, or the folder cannot be used.
    """
    _make_folder(keys_dir)
    with files.locked(keys_dir):
        return _generate(keys_dir, _entries_or_none(keys_dir), algorithm, now)


def ensure(keys_dir: Path, algorithm: Algorithm, now: datetime) -> Entry | None:
    """Make the first key unless the ring has one; safe on every replica at once.

    Raises:
        KeyRingError: as `generate`.
    """
    _make_folder(keys_dir)
    with files.locked(keys_dir):
        entries = _entries_or_none(keys_dir)
        return None if entries else _generate(keys_dir, entries, algorithm, now)


def rotate(keys_dir: Path, algorithm: Algorithm, policy: Policy, now: datetime) -> Entry:
    """Appoint the next key, made now if there is none, to begin to sign; its `signs_from` says when.

    A rotation under way is left as it is, so running it twice rotates once.

    Raises:
        KeyRingError: there is no ring yet, or the folder cannot be used.
    """
    with files.locked(_existing(keys_dir)):
        return _rotate(keys_dir, files.read_entries(keys_dir), algorithm, policy, now)


def retire(keys_dir: Path, kid: str, algorithm: Algorithm, policy: Policy, now: datetime) -> Entry | None:
    """Take a key out of service: a next one is removed, the active one rotated away.

    Return the successor, also of a key that has retired already; None for a next key, which is gone.

    Raises:
        KeyRingError: there is no such key, it is just about to sign, or the folder cannot be used.
    """
    with files.locked(_existing(keys_dir)):
        entries = files.read_entries(keys_dir)
        entry = next((entry for entry in entries if entry.kid == kid), None)
        if entry is None:
            raise KeyRingError(f"{files.ring_path(keys_dir)} has no key {kid}. See: sealwright keys list")
        match rules.state(entries, entry, now):
            case "next":
                _remove(keys_dir, entries, entry, now)
                return None
            case "active":
                return _rotate(keys_dir, entries, algorithm, policy, now)
            case "retired":
                return rules.successor(entries, entry)


def tidy(keys_dir: Path, policy: Policy, now: datetime) -> None:
    """Destroy private keys that no longer sign, forget keys that no token can carry. Cheap if there are none.

    Raises:
        KeyRingError: there is something to do, but the folder cannot be written.
    """
    if not _untidy(keys_dir, files.read_entries(keys_dir), policy, now):
        return
    with files.locked(keys_dir):
        entries = files.read_entries(keys_dir)
        for entry in rules.finished(entries, now):
            files.destroy_private(keys_dir, entry.kid)
        kept = rules.known(entries, policy, now)
        if len(kept) != len(entries):
            files.write_ring(keys_dir, kept)


def _untidy(keys_dir: Path, entries: _Entries, policy: Policy, now: datetime) -> bool:
    return len(rules.known(entries, policy, now)) != len(entries) or any(
        files.has_private(keys_dir, entry.kid) for entry in rules.finished(entries, now)
    )


def _generate(keys_dir: Path, entries: _Entries, algorithm: Algorithm, now: datetime) -> Entry:
    waiting = rules.upcoming(entries, now)
    if waiting is not None:
        raise KeyRingError(
            f"{waiting.kid} is the next key already. Run: sealwright keys rotate, which lets it sign; "
            f"or: sealwright keys retire {waiting.kid}, which removes it."
        )
    entry = _make(keys_dir, algorithm, now)
    if rules.active(entries, now) is None:
        entry = replace(entry, signs_from=entry.created_at)
    files.write_ring(keys_dir, [*entries, entry])
    return entry


def _rotate(keys_dir: Path, entries: _Entries, algorithm: Algorithm, policy: Policy, now: datetime) -> Entry:
    entry = rules.upcoming(entries, now)
    if entry is not None and entry.signs_from is not None:
        return entry
    others = [e for e in entries if e is not entry]
    entry = entry or _make(keys_dir, algorithm, now)
    entry = replace(entry, signs_from=rules.begin(entries, entry, policy, _whole(now)))
    files.write_ring(keys_dir, [*others, entry])
    return entry


def _remove(keys_dir: Path, entries: _Entries, entry: Entry, now: datetime) -> None:
    if entry.signs_from is not None and entry.signs_from <= now + rules.PICKUP:
        # Some replicas would hear of it too late and sign with a key that the others have forgotten.
        raise KeyRingError(f"{entry.kid} begins to sign at {entry.signs_from}. Try again after that.")
    files.write_ring(keys_dir, [e for e in entries if e is not entry])
    files.destroy_private(keys_dir, entry.kid)


def _make(keys_dir: Path, algorithm: Algorithm, now: datetime) -> Entry:
    # The private half first: a ring never names a key that is not there.
    key, pem = signer.make(algorithm)
    files.write_private(keys_dir, key.kid, pem)
    return Entry(key, created_at=_whole(now))


def _make_folder(keys_dir: Path) -> None:
    try:
        keys_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise KeyRingError(f"{keys_dir} cannot be made ({error.strerror}).") from None


def _existing(keys_dir: Path) -> Path:
    files.read_ring(keys_dir)  # its words are better than those of a lock that cannot be opened
    return keys_dir


def _entries_or_none(keys_dir: Path) -> _Entries:
    with suppress(FileNotFoundError):
        files.ring_path(keys_dir).lstat()
        return files.read_entries(keys_dir)
    return ()


def _whole(now: datetime) -> datetime:
    return now.replace(microsecond=0)
