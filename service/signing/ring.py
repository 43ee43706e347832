"""The key ring of one moment, in memory: signs, and says what the JWKS is."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sealwright import KeySet
from service.signing import rules
from service.signing.entries import Entry, KeyRingError
from service.signing.rules import Policy, State
from service.signing.signer import Signer, TokenType
from service.signing.store import Store


@dataclass(frozen=True, slots=True)
class KeyStatus:
    """What a key does at the moment, and its age in seconds."""

    kid: str
    state: State
    age: float


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
    entries: tuple[Entry, ...] = field(repr=False)
    """Every key of the ring, whatever it does."""
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

    def status(self, now: float) -> tuple["KeyStatus", ...]:
        """Return what each key does at `now`, in seconds since the epoch."""
        at = datetime.fromtimestamp(now, UTC)
        return tuple(
            KeyStatus(e.kid, rules.state(self.entries, e, at), now - e.created_at.timestamp())
            for e in self.entries
        )

    def active_kid(self, now: float) -> str:
        """Return the kid that `sign` would use."""
        signers = self._signers
        return next((signer for begins, signer in signers if begins <= now), signers[-1][1]).key.kid


async def load(store: Store, policy: Policy, now: datetime) -> KeyRing:
    """Read the ring and the private keys that it needs.

    Raises:
        KeyRingError: anything is missing or not as it should be; the text says what, and what to do.
    """
    return (await read(store, policy, now))[1]


async def read(store: Store, policy: Policy, now: datetime) -> tuple[bytes, KeyRing]:
    """Return the bytes of the ring, as the store keeps them, beside it. Raises as `load`."""
    raw = await store.read()
    while True:
        try:
            entries = store.parse(raw)
            signers = [
                await store.signer(e, remedy=remedy) for e, remedy in wanted(store.where, entries, now)
            ]
            return raw, snapshot(entries, signers, policy, now)
        except KeyRingError:
            # A next key may have been retired, and its private half destroyed, since the first look.
            again = await store.read()
            if again == raw:
                raise
            raw = again


def wanted(where: str, entries: Sequence[Entry], now: datetime) -> list[tuple[Entry, str]]:
    """Return the keys whose private half has to be there, each with what to do if it is lost.

    Raises:
        KeyRingError: there is none that could sign.
    """
    if not entries:
        raise KeyRingError(f"{where} has no key. Run: sealwright keys generate")
    if rules.active(entries, now) is None:
        raise KeyRingError(f"{where} has no active key. Run: sealwright keys rotate")
    return [(entry, _remedy(entries, entry, now)) for entry in rules.needed(entries, now)]


def snapshot(entries: Sequence[Entry], signers: Sequence[Signer], policy: Policy, now: datetime) -> KeyRing:
    """Return the ring of this moment, with the signers of all the keys that are `wanted`."""
    begins = {e.kid: e.signs_from.timestamp() for e in entries if e.signs_from is not None}
    published = KeySet(entry.key for entry in rules.published(entries, policy, now))
    jwks = json.dumps({"keys": [key.to_jwk() for key in published.values()]}, separators=(",", ":")).encode()
    change = rules.changes_at(entries, policy, now)
    return KeyRing(
        published=published,
        known=KeySet(entry.key for entry in rules.known(entries, policy, now)),
        jwks=jwks,
        etag=_etag(jwks),
        changes_at=None if change is None else change.timestamp(),
        entries=tuple(entries),
        _signers=tuple(
            sorted(
                ((begins[signer.key.kid], signer) for signer in signers if signer.key.kid in begins),
                key=lambda pair: pair[0],
                reverse=True,
            )
        ),
    )


def _remedy(entries: Sequence[Entry], entry: Entry, now: datetime) -> str:
    if rules.state(entries, entry, now) == "next":
        return f"Restore it from your backup, or run: sealwright keys retire {entry.kid}"
    return (
        "Restore it from your backup; if it is lost, run: sealwright keys rotate, "
        "and start again once the new key signs."
    )


def _etag(jwks: bytes) -> str:
    digest = hashlib.sha256(jwks).digest()[:18]
    return f'"{base64.urlsafe_b64encode(digest).decode()}"'
