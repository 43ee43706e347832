"""What each key does at a given moment: pure functions of the ring's entries and the time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, Self

from service.settings import STALENESS
from service.signing.entries import Entry

State = Literal["next", "active", "retired"]
Entries = Sequence[Entry]

PICKUP = timedelta(seconds=10)
"""By when every replica has taken up a change of the ring: it looks each second, and clocks differ a little.
A key begins to sign no sooner than this after the ring says so; its private half outlives its work by it."""


class _Lifetimes(Protocol):
    @property
    def jwks_max_age(self) -> timedelta: ...
    @property
    def max_access_token_lifetime(self) -> timedelta: ...
    @property
    def refresh_token_idle(self) -> timedelta: ...
    @property
    def leeway(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a key is published before it signs, and how long it is kept once it has stopped."""

    jwks_max_age: timedelta
    published_for: timedelta
    """After it has stopped: until no verifier anywhere accepts an access token that it signed."""
    known_for: timedelta
    """After it has stopped, no less: until the last refresh token that it signed is over."""

    @classmethod
    def of(cls, settings: _Lifetimes) -> Self:
        """Take the policy from the settings."""
        margin = settings.leeway + STALENESS
        published_for = settings.max_access_token_lifetime + margin
        return cls(
            settings.jwks_max_age, published_for, max(published_for, settings.refresh_token_idle + margin)
        )


def active(entries: Entries, now: datetime) -> Entry | None:
    """Return the key that signs: the last to begin by now.

    The ring's first key has none to wait for, so it signs even where the clock is behind that of its maker.
    """
    begun: Entry | None = None
    for entry in _in_order(entries):
        if begun is None or _start(entry) <= now:
            begun = entry
    return begun


def upcoming(entries: Entries, now: datetime) -> Entry | None:
    """Return the next key: one that has not signed yet. The commands make no second one."""
    return next((entry for entry in entries if state(entries, entry, now) == "next"), None)


def state(entries: Entries, entry: Entry, now: datetime) -> State:
    """Return what the key is now."""
    signer = active(entries, now)
    if entry.signs_from is None or signer is None or entry.signs_from > _start(signer):
        return "next"
    return "active" if entry is signer else "retired"


def successor(entries: Entries, entry: Entry) -> Entry | None:
    """Return the key that takes or took over from this one; None if none is appointed."""
    if entry.signs_from is None:
        return None
    return next((later for later in _in_order(entries) if _start(later) > _start(entry)), None)


def stops_at(entries: Entries, entry: Entry) -> datetime | None:
    """Return when the key stops or stopped signing: when its successor begins."""
    later = successor(entries, entry)
    return None if later is None else later.signs_from


def published_until(entries: Entries, entry: Entry, policy: Policy) -> datetime | None:
    """Return when the key leaves the JWKS, or None as long as no end is in sight."""
    stop = stops_at(entries, entry)
    return stop and stop + policy.published_for


def published(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys of the JWKS: next, active, and retired ones whose access tokens may still be about."""
    return [e for e in entries if (end := published_until(entries, e, policy)) is None or now < end]


def known(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys that refresh tokens may still carry; the rest can be forgotten."""
    return [e for e in entries if (stop := stops_at(entries, e)) is None or now < stop + policy.known_for]


def needed(entries: Entries, now: datetime) -> list[Entry]:
    """Return the keys whose private half is still needed: active and next."""
    return [entry for entry in entries if state(entries, entry, now) != "retired"]


def finished(entries: Entries, now: datetime) -> list[Entry]:
    """Return the keys whose private half must go: stopped, and with them the slowest clock and request."""
    return [e for e in entries if (stop := stops_at(entries, e)) is not None and now >= stop + PICKUP]


def begin(entries: Entries, entry: Entry, policy: Policy, now: datetime) -> datetime:
    """Return when a next key may begin to sign.

    Not before everybody who caches the JWKS has it, nor before every replica knows, so that they change over
    together. With no key signing there is nobody to wait for.
    """
    signer = active(entries, now)
    if signer is None:
        return now
    # After the active one in any case: clocks of the machines that run the commands may differ.
    return max(now, entry.created_at + policy.jwks_max_age, _start(signer)) + PICKUP


def changes_at(entries: Entries, policy: Policy, now: datetime) -> datetime | None:
    """Return when any of the above will next answer differently, if nobody touches the ring."""
    moments = [e.signs_from for e in entries if e.signs_from is not None]
    for stop in [stop for e in entries if (stop := stops_at(entries, e)) is not None]:
        moments += [stop + PICKUP, stop + policy.published_for, stop + policy.known_for]
    return min((moment for moment in moments if moment > now), default=None)


def _in_order(entries: Entries) -> list[Entry]:
    return sorted((entry for entry in entries if entry.signs_from is not None), key=_start)


def _start(entry: Entry) -> datetime:
    return entry.signs_from or datetime.max.replace(tzinfo=UTC)
