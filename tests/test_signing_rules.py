"""The time rules of the key ring: at single moments, and through whole lives of rings."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from service.settings import STALENESS, KeySettings
from service.signing import Entry, KeyRing, KeyRingError, Policy, files, rules, signer
from service.signing.entries import Damaged, dump, parse
from tests.support import ring

T = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MAX_AGE = timedelta(minutes=5)
ACCESS = timedelta(hours=1)
IDLE = timedelta(days=14)
LEEWAY = timedelta(minutes=1)
POLICY = Policy.of(
    KeySettings(
        jwks_max_age=MAX_AGE,
        key_publication=MAX_AGE,
        max_access_token_lifetime=ACCESS,
        refresh_token_idle=IDLE,
        leeway=LEEWAY,
    )
)


def entry(created: datetime = T, signs_from: datetime | None = None) -> Entry:
    return Entry(signer.make("ES256")[0], created, signs_from)


def test_the_first_key_is_active_even_where_the_clock_is_behind() -> None:
    first = entry(signs_from=T)

    assert rules.active([first], T - SECOND) is first
    assert rules.state([first], first, T - SECOND) == "active"


def test_the_change_over_happens_at_the_very_moment_that_is_written() -> None:
    old, new = entry(signs_from=T), entry(signs_from=T + MAX_AGE)
    before, after = T + MAX_AGE - timedelta(microseconds=1), T + MAX_AGE

    assert [rules.state([old, new], e, before) for e in (old, new)] == ["active", "next"]
    assert [rules.state([old, new], e, after) for e in (old, new)] == ["retired", "active"]
    assert rules.stops_at([old, new], old) == after
    assert rules.stops_at([old, new], new) is None


def test_a_next_key_may_sign_once_it_was_published_for_its_max_age_and_everybody_knows() -> None:
    old, new = entry(signs_from=T), entry(created=T + ACCESS)

    assert rules.begin([old, new], new, POLICY, T + ACCESS, []) == T + ACCESS + MAX_AGE + POLICY.pickup
    assert rules.begin([old, new], new, POLICY, T + 2 * ACCESS, []) == T + 2 * ACCESS + POLICY.pickup


def test_a_successor_begins_after_its_predecessor_whatever_the_clocks_say() -> None:
    old, new = entry(signs_from=T), entry(created=T - ACCESS)

    assert rules.begin([old, new], new, POLICY, T - ACCESS, []) == T + POLICY.pickup


def test_a_retired_key_is_published_until_its_last_access_token_is_over() -> None:
    old, new = entry(signs_from=T), entry(signs_from=T + MAX_AGE)
    end = T + MAX_AGE + ACCESS + LEEWAY + STALENESS

    assert rules.published([old, new], POLICY, end - SECOND) == [old, new]
    assert rules.published([old, new], POLICY, end) == [new]
    assert rules.published_until([old, new], old, POLICY) == end
    assert rules.published_until([old, new], new, POLICY) is None


def test_a_retired_key_is_known_until_its_last_refresh_token_is_over() -> None:
    old, new = entry(signs_from=T), entry(signs_from=T + MAX_AGE)
    end = T + MAX_AGE + IDLE + LEEWAY + STALENESS

    assert rules.known([old, new], POLICY, end - SECOND) == [old, new]
    assert rules.known([old, new], POLICY, end) == [new]


def test_a_key_is_never_forgotten_while_it_is_published() -> None:
    short = Policy.of(KeySettings(max_access_token_lifetime=ACCESS, refresh_token_idle=SECOND))

    assert short.known_for == short.published_for


def test_the_private_half_is_due_to_go_once_slow_clocks_and_requests_are_through() -> None:
    old, new = entry(signs_from=T), entry(signs_from=T + MAX_AGE)

    assert rules.needed([old, new], T + MAX_AGE) == [new]
    assert rules.finished([old, new], POLICY, T + MAX_AGE + POLICY.pickup - SECOND) == []
    assert rules.finished([old, new], POLICY, T + MAX_AGE + POLICY.pickup) == [old]


def test_every_moment_of_change_is_announced() -> None:
    entries = [entry(signs_from=T), entry(signs_from=T + MAX_AGE), entry(created=T + MAX_AGE)]
    stop = T + MAX_AGE
    moments = [T]
    while moment := rules.changes_at(entries, POLICY, moments[-1]):
        moments.append(moment)

    assert moments[1:] == [stop, stop + POLICY.pickup, stop + POLICY.published_for, stop + POLICY.known_for]


def test_the_ring_survives_being_written_and_read() -> None:
    entries = (entry(signs_from=T), entry(created=T + SECOND))

    assert parse(dump(entries)) == entries


@given(st.binary() | st.recursive(st.none() | st.text(), st.lists).map(lambda j: repr(j).encode()))
def test_no_bytes_are_taken_for_a_ring_that_are_none(raw: bytes) -> None:
    with pytest.raises(Damaged):
        parse(raw)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"version": 1', b'"version": 2'),
        (b'"alg": "ES256"', b'"alg": "RS256"'),
        (b'"kid": "', b'"kid": "../'),
        (b'"x": "', b'"x": "A'),
        (b'"signs_from": null', b'"signs_from": 5'),
        (b'"signs_from": null', b'"signs_from": "2026-11-22T12:00:00"'),
        (b'"signs_from": null', b'"signs_from": "tomorrow"'),
        (b'"signs_from": null', b'"until": null'),
        (b'"signs_from": null', b'"signs_from": "2026-11-22T12:00:00Z"'),
        (b'"use": "sig"', b'"use": "enc"'),
        (b'"use": "sig"', b'"d": "AAAA"'),
        (b'"keys": [', b'"keys": [' + b"[" * 100_000),
    ],
)
def test_a_ring_with_anything_wrong_in_it_is_refused_whole(old: bytes, new: bytes) -> None:
    good = dump([entry(signs_from=T), entry()])
    assert old in good

    with pytest.raises(Damaged):
        parse(good.replace(old, new))


def test_a_key_is_in_the_ring_once() -> None:
    twice = entry(signs_from=T)

    with pytest.raises(Damaged):
        parse(dump([twice, twice]))


# The life of a ring: operators' commands with pauses in between, and a replica that does what is due in each.
PAUSES = st.one_of(
    st.integers(0, 30), st.integers(0, 1000), st.integers(0, 10_000), st.integers(0, 30 * 86_400)
).map(lambda seconds: timedelta(seconds=seconds))
COMMANDS = st.sampled_from(["generate", "rotate", "retire the next", "retire the active"])


class Life:
    def __init__(self, keys_dir: Path) -> None:
        self.keys_dir = keys_dir
        self.now = T
        self.published_since: dict[str, datetime] = {}
        self.signed_last: dict[str, datetime] = {}
        self.snapshots: list[tuple[datetime, KeyRing]] = []
        self.first = ring.generate(keys_dir, "ES256", self.now).kid
        self.look()

    def command(self, name: str) -> None:
        entries = files.read_entries(self.keys_dir)
        active, upcoming = rules.active(entries, self.now), rules.upcoming(entries, self.now)
        assert active is not None
        try:
            match name:
                case "generate":
                    ring.generate(self.keys_dir, "ES256", self.now)
                case "rotate":
                    ring.rotate(self.keys_dir, "ES256", POLICY, self.now)
                case "retire the active":
                    ring.retire(self.keys_dir, active.kid, "ES256", POLICY, self.now)
                case _ if upcoming is not None:
                    ring.retire(self.keys_dir, upcoming.kid, "ES256", POLICY, self.now)
        except KeyRingError:
            assert upcoming is not None, "only a next key can be in the way"
        self.look()

    def pause(self, pause: timedelta) -> None:
        for moment in self.moments(self.now, self.now + pause):
            self.now = moment
            ring.tidy(self.keys_dir, POLICY, moment)
            self.look()

    def moments(self, start: datetime, end: datetime) -> Iterator[datetime]:
        # Just before and at each change, and the end.
        now = start
        while (change := rules.changes_at(files.read_entries(self.keys_dir), POLICY, now)) and change < end:
            yield change - timedelta(microseconds=1)
            yield (now := change)
        yield end

    def look(self) -> None:
        now, seen = self.now, ring.load(self.keys_dir, POLICY, self.now)
        signing = seen.active_kid(now.timestamp())
        self.signed_last[signing] = now
        for kid in seen.published:
            self.published_since.setdefault(kid, now)
        for kid in set(self.published_since) - set(seen.published):
            if kid not in self.signed_last:  # a next key that was retired
                del self.published_since[kid]

        # A new key is known to everybody who may cache the JWKS before it signs.
        assert signing == self.first or now - self.published_since[signing] >= MAX_AGE
        # Whatever it signed can be verified until it is over.
        for kid, last in self.signed_last.items():
            assert kid in seen.published or now > last + ACCESS + LEEWAY
            assert kid in seen.known or now > last + IDLE + LEEWAY
        # A replica that looked a little while ago does the same as one that looks now.
        self.snapshots = [(at, old) for at, old in self.snapshots if now - at < POLICY.pickup]
        self.snapshots.append((now, seen))
        assert {old.active_kid(now.timestamp()) for _, old in self.snapshots} == {signing}
        # There are private halves of what may still sign, and of nothing else for long.
        entries = files.read_entries(self.keys_dir)
        there = {e.kid for e in entries if files.has_private(self.keys_dir, e.kid)}
        assert there >= {e.kid for e in rules.needed(entries, now)}
        assert files.strays(self.keys_dir, entries) == []
        assert len([e for e in entries if rules.state(entries, e, now) == "next"]) <= 1
        self.entries = entries


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(COMMANDS, PAUSES), max_size=12))
def test_through_all_its_life_a_ring_keeps_its_promises(story: list[tuple[str, timedelta]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        life = Life(Path(folder) / "keys")
        for command, pause in story:
            life.command(command)
            life.pause(pause)
        life.pause(POLICY.known_for + 2 * MAX_AGE)

        # In the end it has shrunk to what is needed.
        assert len(life.entries) <= 2
        assert {path.stem for path in life.keys_dir.glob("*.pem")} == {e.kid for e in life.entries}


def test_a_next_key_waits_until_every_live_replica_publishes_it_and_its_time_has_come() -> None:
    old, new = entry(signs_from=T), entry(created=T + ACCESS)
    both, behind = {old.kid, new.kid}, {old.kid}
    soon, late = T + ACCESS + MAX_AGE - SECOND, T + ACCESS + MAX_AGE

    assert rules.begin([old, new], new, POLICY, soon, [both, both]) is None
    assert rules.begin([old, new], new, POLICY, late, [both, behind]) is None
    assert rules.begin([old, new], new, POLICY, late, [both, both]) == late + POLICY.pickup


def test_a_key_that_grows_old_is_followed_in_time_and_once() -> None:
    old, new = entry(signs_from=T), entry(created=T)
    due = T + POLICY.rotation - POLICY.publication - POLICY.pickup

    assert not rules.due([old], POLICY, due - SECOND)
    assert rules.due([old], POLICY, due)
    assert not rules.due([old, new], POLICY, due)
    assert not rules.due([old], replace(POLICY, rotation=timedelta()), due + 100 * POLICY.rotation)


def test_a_stray_replica_puts_only_itself_out_of_service() -> None:
    ours, strays = frozenset({"a", "b"}), frozenset({"x"})

    assert rules.lacking(ours, [ours, ours, strays], stuck=False) == set()
    assert rules.lacking(strays, [ours, ours, ours], stuck=False) == ours
    assert rules.lacking(frozenset({"a"}), [ours], stuck=False) == set()
    assert rules.lacking(frozenset({"a"}), [ours], stuck=True) == {"b"}


def test_a_compromised_key_neither_signs_nor_is_known_and_its_successor_waits_for_no_clock() -> None:
    old = entry(signs_from=T)
    dead = entry(signs_from=T + MAX_AGE)
    dead = replace(dead, compromised_at=T + ACCESS)
    new = entry(created=T + ACCESS, signs_from=T + ACCESS + timedelta(milliseconds=1))
    ring_, slow = [old, dead, new], T + ACCESS - SECOND

    assert rules.active(ring_, slow) is new
    assert rules.state(ring_, dead, slow) == "compromised"
    assert dead not in rules.published(ring_, POLICY, slow)
    assert dead not in rules.known(ring_, POLICY, slow)
    assert dead in rules.finished(ring_, POLICY, slow)
    assert rules.stops_at(ring_, dead) == T + ACCESS
    assert dead in rules.listed(ring_, POLICY, T + ACCESS + POLICY.known_for - SECOND)
    assert dead not in rules.listed(ring_, POLICY, T + ACCESS + POLICY.known_for)


def test_a_next_key_that_is_compromised_before_its_time_never_counts_as_a_successor() -> None:
    old = entry(signs_from=T)
    dead = replace(entry(signs_from=T + MAX_AGE), compromised_at=T + SECOND)

    assert rules.active([old, dead], T + ACCESS) is old
    assert rules.stops_at([old, dead], old) is None
