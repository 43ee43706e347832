"""The key ring of one moment, in memory: signs, and says what the JWKS is."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sealwright import KeySet
from service.signing import files, rules
from service.signing.entries import Entry, KeyRingError
from service.signing.rules import Policy
from service.signing.signer import Signer, TokenType


@dataclass(frozen=True, slots=True, eq=False)
class KeyRing:
    """A snapshot: its sets of keys are those of the time it was taken, but it signs rightly beyond that."""

    published: KeySet
    """The keys of the JWKS: access tokens are verified with these."""
    known: KeySet
    """These and retired keys that only refresh tokens may still carry."""
    jwks: bytes = field(repr=False)
    """RFC 7517 5; the same bytes on every replica."""
    etag: str
    """A strong validator of `jwks`, with its quotes (RFC 9110 8.8.3)."""
    changes_at: float | None
    """When a new snapshot of the same ring would differ, in seconds since the epoch."""
    _signers: tuple[tuple[float, Signer], ...] = field(repr=False)
    """The latest to begin first; from when on each signs."""

    def sign(self, typ: TokenType, payload: bytes, now: float) -> str:
        """Return `payload` as a compact JWS of the key that is active at `now`, in seconds since the epoch.

        `now` is the present moment, not a claim: the change-over to the next key happens here.
        """
        for begins, signer in self._signers:
            if begins <= now:
                return signer.jws(typ, payload)
        return self._signers[-1][1].jws(typ, payload)

    def signing_since(self, now: float) -> float:
        """Return when the key that `sign` would use began to, in seconds since the epoch."""
        begins = [begins for begins, _ in self._signers]
        return next((since for since in begins if since <= now), begins[-1])

    def active_kid(self, now: float) -> str:
        """Return the kid that `sign` would use."""
        signers = self._signers
        return next((signer for begins, signer in signers if begins <= now), signers[-1][1]).key.kid


def load(keys_dir: Path, policy: Policy, now: datetime) -> KeyRing:
    """Read the ring and the private keys that it needs.

    Raises:
        KeyRingError: anything is missing or not as it should be; the text says which file and what to do.
    """
    return read(keys_dir, policy, now)[1]


def read(keys_dir: Path, policy: Policy, now: datetime) -> tuple[bytes, KeyRing]:
    """Return the bytes of `ring.json` beside the ring. Raises as `load`."""
    raw = files.read_ring(keys_dir)
    while True:
        try:
            return raw, _snapshot(keys_dir, raw, policy, now)
        except KeyRingError:
            # A next key may have been retired, and its private half unlinked, since the first look.
            again = files.read_ring(keys_dir)
            if again == raw:
                raise
            raw = again


def _snapshot(keys_dir: Path, raw: bytes, policy: Policy, now: datetime) -> KeyRing:
    entries = files.parse_ring(keys_dir, raw)
    path = files.ring_path(keys_dir)
    if not entries:
        raise KeyRingError(f"{path} has no key. Run: sealwright keys generate")
    if rules.active(entries, now) is None:
        raise KeyRingError(f"{path} has no active key. Run: sealwright keys rotate")
    signers = [(entry, _signer(keys_dir, entries, entry, now)) for entry in rules.needed(entries, now)]
    published = KeySet(entry.key for entry in rules.published(entries, policy, now))
    jwks = json.dumps({"keys": [key.to_jwk() for key in published.values()]}, separators=(",", ":")).encode()
    change = rules.changes_at(entries, policy, now)
    return KeyRing(
        published=published,
        known=KeySet(entry.key for entry in rules.known(entries, policy, now)),
        jwks=jwks,
        etag=_etag(jwks),
        changes_at=None if change is None else change.timestamp(),
        _signers=tuple(
            sorted(
                ((e.signs_from.timestamp(), signer) for e, signer in signers if e.signs_from is not None),
                key=lambda pair: pair[0],
                reverse=True,
            )
        ),
    )


def _signer(keys_dir: Path, entries: tuple[Entry, ...], entry: Entry, now: datetime) -> Signer:
    if rules.state(entries, entry, now) == "next":
        remedy = f"Restore it from your backup, or run: sealwright keys retire {entry.kid}"
    else:
        remedy = (
            "Restore it from your backup; if it is lost, run: sealwright keys rotate, "
            "and start again once the new key signs."
        )
    return files.read_signer(keys_dir, entry, remedy=remedy)


def _etag(jwks: bytes) -> str:
    digest = hashlib.sha256(jwks).digest()[:18]
    return f'"{base64.urlsafe_b64encode(digest).decode()}"'
