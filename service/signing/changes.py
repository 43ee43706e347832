"""What the commands and the keeper do to a ring: each is a plan, which a store carries out under its lock.

A plan is a function of the ring's entries alone. `now` is the present moment; it is an argument so that tests
can choose it.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TypeAlias

from sealwright import Algorithm, Key
from service.signing import rules, signer
from service.signing.entries import Entry, KeyRingError
from service.signing.rules import Policy, Publishing


@dataclass(frozen=True, slots=True)
class Change:
    """A ring as it is to be, and what becomes of private keys."""

    entries: tuple[Entry, ...]
    entry: Entry | None = None
    """The key that it is about; None if nothing was to be done, or the key is gone."""
    made: tuple[str, bytes] | None = field(default=None, repr=False)
    """A private key to keep: its kid, and PKCS8 PEM."""
    gone: tuple[str, ...] = ()
    """Private keys to destroy, those that are gone already among them."""


_INSTANT = timedelta(milliseconds=1)

Plan: TypeAlias = Callable[[tuple[Entry, ...]], Change]


def generate(algorithm: Algorithm, now: datetime) -> Plan:
    """Make a key and publish it as the next one. The first key of a ring signs at once: nobody has cached a JWKS.

    Raises KeyRingError, as every plan does where it cannot be: there is a next key already.
    """
    return lambda entries: _add(entries, *signer.make(algorithm), now)


def ensure(algorithm: Algorithm, now: datetime) -> Plan:
    """Make the first key unless the ring has one; safe on every replica at once."""
    return lambda entries: Change(entries) if entries else _add(entries, *signer.make(algorithm), now)


def bring(pem: bytes, algorithm: Algorithm, now: datetime) -> Plan:
    """Add a key that was made elsewhere, as the next one, or the first."""
    try:
        key, own = signer.take(pem, algorithm)
    except signer.Unusable as error:
        raise KeyRingError(f"It {error}.") from None

    def plan(entries: tuple[Entry, ...]) -> Change:
        if any(entry.kid == key.kid for entry in entries):
            raise KeyRingError(f"{key.kid} is in the ring already. See: sealwright keys list")
        return _add(entries, key, own, now)

    return plan


def rotate(algorithm: Algorithm, policy: Policy, now: datetime, publishing: Publishing | None) -> Plan:
    """Appoint the next key, made now if there is none, to sign as soon as it may; `signs_from` says when, if known.

    A rotation under way is left as it is, so running it twice rotates once. `publishing` None: nobody knows which
    replicas run, so the key is appointed, and one of them will say when.
    """
    return lambda entries: _rotate(entries, algorithm, policy, now, publishing)


def keep(algorithm: Algorithm, policy: Policy, now: datetime, publishing: Publishing) -> Plan:
    """Do what is due by itself: rotate an active key that has grown old, let an appointed one sign when it may."""

    def plan(entries: tuple[Entry, ...]) -> Change:
        if waiting(entries, policy, now):
            return _rotate(entries, algorithm, policy, now, publishing)
        return Change(entries)

    return plan


def waiting(entries: Sequence[Entry], policy: Policy, now: datetime) -> bool:
    """Whether `keep` would have something to do, or something to wait for."""
    appointed = rules.upcoming(entries, now)
    return rules.due(entries, policy, now) or (
        appointed is not None and appointed.appointed_at is not None and appointed.signs_from is None
    )


def retire(
    kid: str, algorithm: Algorithm, policy: Policy, now: datetime, publishing: Publishing | None
) -> Plan:
    """Take a key out of service: a next one is removed, the active one rotated away.

    `entry` is the successor, also of a key that has retired already; None for a next key, which is gone.
    """

    def plan(entries: tuple[Entry, ...]) -> Change:
        entry = _named(entries, kid)
        match rules.state(entries, entry, now):
            case "next":
                return _remove(entries, entry, policy, now)
            case "active":
                return _rotate(entries, algorithm, policy, now, publishing)
            case "retired" | "compromised":
                return Change(entries, rules.successor(entries, entry))

    return plan


def compromise(kid: str, algorithm: Algorithm, now: datetime) -> Plan:
    """Drop a key at once, from the JWKS too. If it was to sign now, the next one signs instead, made now if need be.

    `entry` is the dropped one; done again, it changes nothing.
    """

    def plan(entries: tuple[Entry, ...]) -> Change:
        entry = _named(entries, kid)
        if entry.compromised_at is not None:
            return Change(entries, entry, gone=(kid,))
        dead = replace(entry, compromised_at=_plain(now))
        others = tuple(dead if e is entry else e for e in entries)
        if rules.active(others, now) is not None:
            return Change(others, dead, gone=(kid,))
        return _replace_at_once(others, dead, algorithm, now)

    return plan


def settle(kid: str, now: datetime) -> Plan:
    """Remember that all that follows on a compromise has been done."""

    def plan(entries: tuple[Entry, ...]) -> Change:
        return Change(
            tuple(
                replace(e, settled_at=_plain(now)) if e.kid == kid and e.settled_at is None else e
                for e in entries
            )
        )

    return plan


def tidy(policy: Policy, now: datetime) -> Plan:
    """Destroy private keys that no longer sign, forget keys that no token can carry."""
    return lambda entries: Change(
        tuple(rules.listed(entries, policy, now)),
        gone=tuple(e.kid for e in rules.finished(entries, policy, now)),
    )


def untidy(entries: Sequence[Entry], private: frozenset[str], policy: Policy, now: datetime) -> bool:
    """Whether `tidy` would do anything, where these private keys are there."""
    return len(rules.listed(entries, policy, now)) != len(entries) or any(
        entry.kid in private for entry in rules.finished(entries, policy, now)
    )


def _named(entries: tuple[Entry, ...], kid: str) -> Entry:
    for entry in entries:
        if entry.kid == kid:
            return entry
    raise KeyRingError(f"The ring has no key {kid}. See: sealwright keys list")


def _add(entries: tuple[Entry, ...], key: Key, pem: bytes, now: datetime) -> Change:
    waiting = rules.upcoming(entries, now)
    if waiting is not None:
        raise KeyRingError(
            f"{waiting.kid} is the next key already. Run: sealwright keys rotate, which lets it sign; "
            f"or: sealwright keys retire {waiting.kid}, which removes it."
        )
    entry = Entry(key, created_at=_plain(now))
    if rules.active(entries, now) is None:
        entry = replace(entry, signs_from=entry.created_at)
    return Change((*entries, entry), entry, (key.kid, pem))


def _rotate(
    entries: tuple[Entry, ...],
    algorithm: Algorithm,
    policy: Policy,
    now: datetime,
    publishing: Publishing | None,
) -> Change:
    entry = rules.upcoming(entries, now)
    if entry is not None and entry.signs_from is not None:
        return Change(entries, entry)
    made = None
    if entry is None:
        change = _add(entries, *signer.make(algorithm), now)
        entries, entry, made = change.entries, change.entries[-1], change.made
    begins = None if publishing is None else rules.begin(entries, entry, policy, _plain(now), publishing)
    appointed = replace(
        entry,
        signs_from=entry.signs_from or begins,
        appointed_at=entry.appointed_at or _plain(now),
    )
    return Change((*(e for e in entries if e is not entry), appointed), appointed, made)


def _remove(entries: tuple[Entry, ...], entry: Entry, policy: Policy, now: datetime) -> Change:
    if entry.signs_from is not None and entry.signs_from <= now + policy.pickup:
        # Some replicas would hear of it too late and sign with a key that the others have forgotten.
        raise KeyRingError(f"{entry.kid} begins to sign at {entry.signs_from}. Try again after that.")
    return Change(tuple(e for e in entries if e is not entry), gone=(entry.kid,))


def _replace_at_once(entries: tuple[Entry, ...], dead: Entry, algorithm: Algorithm, now: datetime) -> Change:
    entry, made = rules.upcoming(entries, now), None
    if entry is None:
        key, pem = signer.make(algorithm)
        entry, made = Entry(key, created_at=_plain(now)), (key.kid, pem)
    last = rules.last_start([e for e in entries if e is not entry])
    begins = _plain(now) if last is None else max(_plain(now), last + _INSTANT)
    begun = replace(entry, signs_from=begins, appointed_at=entry.appointed_at or _plain(now))
    return Change((*(e for e in entries if e is not entry), begun), dead, made, (dead.kid,))


def _plain(now: datetime) -> datetime:
    # In milliseconds, so that people can read the ring.
    return now.replace(microsecond=now.microsecond // 1000 * 1000)
