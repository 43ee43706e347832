"""What each key does at a given moment: pure functions of the ring's entries, the time and the replicas' reports."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal, Protocol, Self

from service.settings import STALENESS
from service.signing.entries import Entry

State = Literal["next", "active", "retired", "compromised"]
Entries = Sequence[Entry]
Publishing = Sequence[AbstractSet[str]]
"""The kids that each live replica says it publishes."""

LOOKS = 10
"""Looks of a replica at the ring until a change is taken up for certain; it looks often, and clocks differ a little."""

LOOKS_A_BEAT = 5
"""A replica reports which keys it publishes at each change of its ring, and so often while nothing changes."""

LOOKS_ALIVE = 3 * LOOKS_A_BEAT
"""Looks without a report after which a replica is not waited for."""


class _Settings(Protocol):
    @property
    def key_publication(self) -> timedelta: ...
    @property
    def key_rotation(self) -> timedelta: ...
    @property
    def key_watch_interval(self) -> timedelta: ...
    @property
    def max_access_token_lifetime(self) -> timedelta: ...
    @property
    def refresh_token_idle(self) -> timedelta: ...
    @property
    def leeway(self) -> timedelta: ...


@dataclass(frozen=True, slots=True)
class Policy:
    """How long a key is published before it signs, how long it signs, and how long it is kept after that."""

    publication: timedelta
    """Before it signs: until everybody who caches the JWKS has it."""
    rotation: timedelta
    """How old an active key grows before its successor signs by itself; 0: no end."""
    pickup: timedelta
    """By when every replica has taken up a change of the ring. A key begins to sign no sooner than this after the
    ring says so; its private half outlives its work by it."""
    published_for: timedelta
    """After it has stopped: until no verifier anywhere accepts an access token that it signed."""
    known_for: timedelta
    """After it has stopped, no less: until the last refresh token that it signed is over."""

    @classmethod
    def of(cls, settings: _Settings) -> Self:
        """Take the policy from the settings."""
        margin = settings.leeway + STALENESS
        published_for = settings.max_access_token_lifetime + margin
        return cls(
            settings.key_publication,
            settings.key_rotation,
            LOOKS * settings.key_watch_interval,
            published_for,
            max(published_for, settings.refresh_token_idle + margin),
        )


def active(entries: Entries, now: datetime) -> Entry | None:
    """Return the key that signs: the last to begin by now.

    The ring's first key has none to wait for, so it signs even where the clock is behind that of its maker; nor
    does the successor of a compromised one wait for any clock.
    """
    begun: Entry | None = None
    for entry in _in_order(entries):
        if begun is None or begun.compromised_at is not None or _start(entry) <= now:
            begun = entry
    return None if begun is None or begun.compromised_at is not None else begun


def upcoming(entries: Entries, now: datetime) -> Entry | None:
    """Return the next key: one that has not signed yet. The commands make no second one."""
    return next((entry for entry in entries if state(entries, entry, now) == "next"), None)


def state(entries: Entries, entry: Entry, now: datetime) -> State:
    """Return what the key is now."""
    if entry.compromised_at is not None:
        return "compromised"
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
    """Return when the key stops or stopped signing: when its successor begins, or it was found to be compromised."""
    later = successor(entries, entry)
    stop = None if later is None else later.signs_from
    if entry.compromised_at is None:
        return stop
    return entry.compromised_at if stop is None else min(stop, entry.compromised_at)


def published_until(entries: Entries, entry: Entry, policy: Policy) -> datetime | None:
    """Return when the key leaves or left the JWKS, or None as long as no end is in sight."""
    if entry.compromised_at is not None:
        return entry.compromised_at
    stop = stops_at(entries, entry)
    return stop and stop + policy.published_for


def published(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys of the JWKS: next, active, and retired ones whose access tokens may still be about."""
    return [
        e
        for e in known(entries, policy, now)
        if (end := published_until(entries, e, policy)) is None or now < end
    ]


def known(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys whose refresh tokens are still taken."""
    return [e for e in listed(entries, policy, now) if e.compromised_at is None]


def listed(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys that refresh tokens may still carry, taken or not; the rest can be forgotten."""
    return [e for e in entries if (end := _forgotten_at(entries, e, policy)) is None or now < end]


def needed(entries: Entries, now: datetime) -> list[Entry]:
    """Return the keys whose private half is still needed: active and next."""
    return [entry for entry in entries if state(entries, entry, now) in {"active", "next"}]


def finished(entries: Entries, policy: Policy, now: datetime) -> list[Entry]:
    """Return the keys whose private half must go: compromised, or stopped, and with them the slowest clock."""
    return [
        e
        for e in entries
        if e.compromised_at is not None
        or ((stop := stops_at(entries, e)) is not None and now >= stop + policy.pickup)
    ]


def due(entries: Entries, policy: Policy, now: datetime) -> bool:
    """Whether it is time to publish a successor, so that it signs when the active key has grown old enough."""
    signer = active(entries, now)
    if signer is None or not policy.rotation or upcoming(entries, now) is not None:
        return False
    return now >= _start(signer) + policy.rotation - policy.publication - policy.pickup


def begin(
    entries: Entries, entry: Entry, policy: Policy, now: datetime, publishing: Publishing
) -> datetime | None:
    """Return when a next key may begin to sign; None while a live replica does not publish it, or it is too early.

    Not before everybody who caches the JWKS has it, nor before every replica knows, so that they change over
    together. With no key signing there is nobody to wait for; with no replica running, none has to say anything.
    """
    signer = active(entries, now)
    if signer is None:
        return now
    fetched = entry.created_at + policy.publication
    if publishing and (now < fetched or not all(entry.kid in kids for kids in publishing)):
        return None
    # After the active one in any case: clocks of the machines that run the commands may differ.
    return max(now, fetched, _start(signer)) + policy.pickup


def lacking(mine: AbstractSet[str], others: Publishing, *, stuck: bool) -> frozenset[str]:
    """Return the keys that other replicas publish and this one does not.

    One that knows that it is stuck believes any other; else most of them have to agree, so that a stray replica,
    on a ring of its own, puts nobody but itself out of service.
    """
    enough = 1 if stuck else (len(others) + 1) // 2 + 1
    told = {kid for kids in others for kid in kids} - mine
    return frozenset(kid for kid in told if sum(kid in kids for kids in others) >= enough)


def last_start(entries: Entries) -> datetime | None:
    """Return when the last key to sign begins or began."""
    in_order = _in_order(entries)
    return in_order[-1].signs_from if in_order else None


def changes_at(entries: Entries, policy: Policy, now: datetime) -> datetime | None:
    """Return when any of the above will next answer differently, if nobody touches the ring."""
    moments = [e.signs_from for e in entries if e.signs_from is not None]
    for entry in entries:
        moments += [at for at in (_forgotten_at(entries, entry, policy),) if at is not None]
        if (stop := stops_at(entries, entry)) is not None:
            moments += [stop + policy.pickup, stop + policy.published_for]
    return min((moment for moment in moments if moment > now), default=None)


def _forgotten_at(entries: Entries, entry: Entry, policy: Policy) -> datetime | None:
    end = entry.compromised_at or stops_at(entries, entry)
    return end and end + policy.known_for


def _in_order(entries: Entries) -> list[Entry]:
    """Return the keys that sign, have signed or will, by their time; none that was compromised before it could."""
    return sorted(
        (
            e
            for e in entries
            if e.signs_from is not None and (e.compromised_at is None or e.signs_from < e.compromised_at)
        ),
        key=_start,
    )


def _start(entry: Entry) -> datetime:
    return entry.signs_from or datetime.max.replace(tzinfo=UTC)
