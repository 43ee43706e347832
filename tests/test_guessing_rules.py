"""The rules of guessing by themselves: how waits grow, and that Redis and a process alone count alike."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as at_most
from hypothesis import strategies as st
from pydantic import SecretStr
from redis.asyncio import Redis

from service.errors import Unavailable
from service.guessing.gate import Gate
from service.guessing.local import LocalCounts
from service.guessing.names import Names
from service.guessing.rules import Begun, Counts, Limit, Rule, Rules, Standing, Wait
from service.guessing.shared import SharedCounts
from service.settings import Settings
from tests.support.client import unique
from tests.support.deployment import Deployment

HOUR = 3_600_000
ACCOUNT = Rule("account", free=3, window=6 * HOUR, longest=900_000, forgiving=True)
ADDRESS = Rule("address", free=5, window=HOUR, longest=900_000)
CLIENT = Rule("client", free=2, window=HOUR, longest=900_000, certain=True, forgiving=True)


class Clock:
    """Real time, of which more passes when it is told to."""

    def __init__(self) -> None:
        self._passed = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self._passed

    def advance(self, seconds: float) -> None:
        self._passed += seconds


@pytest.fixture(scope="module")
def settings(deployment: Deployment) -> Settings:
    return replace(deployment, namespace=unique("guessing")).settings


def test_the_first_wait_is_a_second_and_each_further_failure_doubles_it_up_to_the_longest(
    settings: Settings,
) -> None:
    rule = Rules(settings.model_copy(update={"guesses_per_account": 5})).account
    assert rule is not None

    assert [rule.wait(failures) for failures in range(5)] == [0] * 5
    waits = [rule.wait(failures) for failures in range(5, 17)]
    assert waits == [1000, 2000, 4000, 8000, 16000, 32000, 64000, 128000, 256000, 512000, 900000, 900000]
    assert rule.wait(10**9) == 900_000


def test_a_limit_of_nothing_is_no_limit(settings: Settings) -> None:
    off = {"guesses_per_account": 0, "guesses_per_address": 0, "registrations_per_address": 0}
    rules = Rules(settings.model_copy(update=off))

    assert {rules.account, rules.address, rules.password, rules.client_address, rules.registration} == {None}
    assert rules.client is not None


@asynccontextmanager
async def shared_counts(settings: Settings) -> AsyncIterator[tuple[SharedCounts, Redis]]:
    counts = SharedCounts(settings)
    async with Redis.from_url(settings.redis_url.get_secret_value()) as redis:
        try:
            yield counts, redis
        finally:
            await counts.close()


async def advance(redis: Redis, settings: Settings, place: str, seconds: int) -> None:
    """Let time pass for what is counted there."""
    for rule in (ACCOUNT, ADDRESS, CLIENT):
        for suffix in ("", ":wait"):
            key = f"{{{settings.redis_namespace}:guesses:{place}}}:{rule.kind}{suffix}"
            left = await redis.pttl(key) - seconds * 1000
            await (redis.pexpire(key, left) if left > 0 else redis.delete(key))


def alike(here: Begun, there: Begun) -> bool:
    if isinstance(here, Wait) and isinstance(there, Wait):
        return abs(here.left - there.left) < 5000  # what lay between the two looks
    return here == there


async def end(counts: Counts, begun: tuple[Standing, ...], how: str) -> object:
    """Let a try end, as a `Guess` does."""
    counted = [standing.limit for standing in begun if standing.counted]
    if how == "failed":
        uncounted = [standing.limit for standing in begun if not standing.counted]
        return await counts.count(uncounted) if uncounted else None
    forgotten = [standing.limit for standing in begun if how == "right" and standing.limit.rule.forgiving]
    await counts.settle([limit for limit in counted if limit not in forgotten], forgotten)
    return None


TRIES = st.tuples(
    st.sampled_from([(ACCOUNT, ADDRESS), (ACCOUNT,), (ADDRESS,), (CLIENT,), (CLIENT, ADDRESS)]),
    st.sampled_from(["failed", "failed", "failed", "right", "nothing"]),
)
PAUSES = st.sampled_from([1, 2, 5, 60, 900, 3600, 21600])


@at_most(max_examples=50)
@given(st.lists(TRIES | PAUSES, max_size=40))
def test_redis_and_a_process_alone_count_alike(
    settings: Settings, steps: list[tuple[tuple[Rule, ...], str] | int]
) -> None:
    async def main() -> None:
        clock, place = Clock(), unique("place")
        local = LocalCounts(clock=clock)
        async with shared_counts(settings) as (shared, redis):
            for step in steps:
                if isinstance(step, int):
                    clock.advance(step)
                    await advance(redis, settings, place, step)
                    continue
                rules, how = step
                limits = [Limit(rule, place) for rule in rules]
                here, there = await local.begin(limits), await shared.begin(limits)
                assert alike(here, there)
                if not isinstance(here, Wait) and not isinstance(there, Wait):
                    assert await end(local, here, how) == await end(shared, there, how)
            await advance(redis, settings, place, 10**6)

    asyncio.run(main())


async def fail(counts: Counts, *limits: Limit) -> bool:
    """Fail once; False if it had to wait instead."""
    begun = await counts.begin(limits)
    if isinstance(begun, Wait):
        return False
    await end(counts, begun, "failed")
    return True


@pytest.mark.anyio
async def test_a_try_that_has_to_wait_is_not_counted_and_makes_the_wait_no_longer() -> None:
    clock = Clock()
    counts, limit = LocalCounts(clock=clock), Limit(ACCOUNT, "here")
    for _ in range(ACCOUNT.free):
        assert await fail(counts, limit)

    for _ in range(100):
        assert not await fail(counts, limit)
    clock.advance(1)

    assert await fail(counts, limit)
    assert not await fail(counts, limit)


@pytest.mark.anyio
async def test_a_guesser_who_never_tires_has_so_many_guesses_in_a_day(settings: Settings) -> None:
    """What docs/reliability.md says."""
    clock = Clock()
    counts, rule = (
        LocalCounts(clock=clock),
        Rules(settings.model_copy(update={"guesses_per_account": 5})).account,
    )
    assert rule is not None
    limit, guesses, began = Limit(rule, "here"), 0, clock()

    while clock() < began + 86_400:
        begun = await counts.begin([limit])
        if isinstance(begun, Wait):
            clock.advance(begun.left / 1000)
        else:
            await end(counts, begun, "failed")
            guesses += 1

    assert 140 < guesses < 160


@pytest.mark.anyio
async def test_a_process_alone_remembers_so_many_and_forgets_the_oldest() -> None:
    counts = LocalCounts(most=100)
    first, *others = [Limit(ACCOUNT, str(number)) for number in range(101)]
    for limit in (first, *others[:-1]):
        for _ in range(ACCOUNT.free):
            await fail(counts, limit)
    assert not await fail(counts, first)

    await fail(counts, others[-1])

    assert await fail(counts, first)
    assert not await fail(counts, others[1])


@pytest.mark.anyio
async def test_at_the_gate_a_few_pass_at_a_time_and_too_many_are_sent_away(settings: Settings) -> None:
    narrow = settings.model_copy(
        update={"password_threads": 2, "password_queue": 3, "password_wait": timedelta(seconds=0.05)}
    )
    gate, inside, most = Gate(narrow), 0, 0
    leave = asyncio.Event()

    async def pass_() -> None:
        nonlocal inside, most
        async with gate.passed("here"):
            inside += 1
            most = max(most, inside)
            await leave.wait()
            inside -= 1

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(pass_()) for _ in range(2)]
        await asyncio.sleep(0)
        waiting = [asyncio.create_task(pass_()) for _ in range(3)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable):
            await pass_()
        # Elsewhere there is room; and nobody waits for longer than a sign-in may.
        async with gate.passed("there"):
            assert all(
                isinstance(done, Unavailable)
                for done in await asyncio.gather(*waiting, return_exceptions=True)
            )
        leave.set()

    assert [task.exception() for task in tasks] == [None, None]
    assert (inside, most) == (0, 2)
    leave.set()
    await asyncio.wait_for(pass_(), 5)


def test_names_are_of_equal_length_and_only_who_knows_the_settings_can_make_them(settings: Settings) -> None:
    names = Names(settings)

    def known_by(url: str) -> Names:
        return Names(settings.model_copy(update={"database_url": SecretStr(url)}))

    other, again = known_by("postgresql://u:other@h/d"), known_by("postgresql://u:other@h.example:5432/d")

    made = {
        names.account("alice"),
        names.account("x" * 60_000),
        names.client("alice"),
        other.account("alice"),
    }
    assert len(made) == 4
    assert {len(name) for name in made} == {32}
    assert names.account("alice") == Names(settings).account("alice")
    assert other.account("alice") == again.account("alice")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("203.0.113.7", "203.0.113.7", True),
        ("203.0.113.7", "203.0.113.8", False),
        ("203.0.113.7", "::ffff:203.0.113.7", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff:ffff:ffff:ffff", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        (None, None, True),
        (None, "203.0.113.7", False),
    ],
)
def test_an_address_is_counted_as_whoever_has_it(
    settings: Settings, one: str | None, other: str | None, *, same: bool
) -> None:
    names = Names(settings)

    assert (names.address(one) == names.address(other)) == same
