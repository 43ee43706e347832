"""A ring in a folder, changed and read in a line, with or without an event loop."""

from datetime import datetime
from pathlib import Path

from sealwright import Algorithm
from service.signing import Entry, KeyRing, Policy, changes, files
from service.signing.ring import snapshot, wanted
from service.signing.rules import Publishing


def generate(keys_dir: Path, algorithm: Algorithm, now: datetime) -> Entry:
    made = files.change(keys_dir, changes.generate(algorithm, now), begin=True).entry
    assert made is not None
    return made


def ensure(keys_dir: Path, algorithm: Algorithm, now: datetime) -> Entry | None:
    return files.change(keys_dir, changes.ensure(algorithm, now), begin=True).entry


def rotate(
    keys_dir: Path, algorithm: Algorithm, policy: Policy, now: datetime, publishing: Publishing = ()
) -> Entry:
    entry = files.change(keys_dir, changes.rotate(algorithm, policy, now, publishing)).entry
    assert entry is not None
    return entry


def retire(keys_dir: Path, kid: str, algorithm: Algorithm, policy: Policy, now: datetime) -> Entry | None:
    return files.change(keys_dir, changes.retire(kid, algorithm, policy, now, ())).entry


def compromise(keys_dir: Path, kid: str, algorithm: Algorithm, now: datetime) -> Entry | None:
    return files.change(keys_dir, changes.compromise(kid, algorithm, now)).entry


def keep(
    keys_dir: Path, algorithm: Algorithm, policy: Policy, now: datetime, publishing: Publishing = ()
) -> Entry | None:
    return files.change(keys_dir, changes.keep(algorithm, policy, now, publishing)).entry


def tidy(keys_dir: Path, policy: Policy, now: datetime) -> None:
    if changes.untidy(files.read_entries(keys_dir), files.privates(keys_dir), policy, now):
        files.change(keys_dir, changes.tidy(policy, now))


def load(keys_dir: Path, policy: Policy, now: datetime) -> KeyRing:
    """The ring as a replica reads it."""
    entries = files.read_entries(keys_dir)
    signers = [
        files.read_signer(keys_dir, entry, remedy=remedy)
        for entry, remedy in wanted(str(files.ring_path(keys_dir)), entries, now)
    ]
    return snapshot(entries, signers, policy, now)
