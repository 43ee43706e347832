"""Hashing: the same work whoever asks, and a bounded queue."""

import asyncio
import time
from collections.abc import Iterator

import pytest
from starlette.requests import ClientDisconnect

from service.errors import Unavailable
from service.users.passwords import Passwords, WeakPassword
from tests.support.deployment import Deployment

pytestmark = pytest.mark.anyio


@pytest.fixture
def passwords(deployment: Deployment) -> Iterator[Passwords]:
    slow = deployment.having(password_memory_kib="16384", password_iterations="4")
    made = Passwords(slow.settings)
    yield made
    made.close()


async def test_an_unknown_user_costs_as_much_as_a_wrong_password(passwords: Passwords) -> None:
    known = await passwords.hash("right")
    times: dict[bool, list[float]] = {True: [], False: []}

    for _ in range(9):
        for is_known, measured in times.items():
            began = time.perf_counter()
            right, _ = await passwords.verify("wrong", known if is_known else None)
            measured.append(time.perf_counter() - began)
            assert not right

    # The quickest of each, which a busy machine spoils least. With nothing to verify it would be a thousandth.
    assert 0.2 < min(times[True]) / min(times[False]) < 5


async def test_the_password_of_the_dummy_hash_opens_nothing(passwords: Passwords) -> None:
    assert await passwords.verify("no user has this password", None) == (False, None)
    assert await passwords.verify("no user has this password", "") == (False, None)


async def test_a_hash_of_no_known_kind_is_no_password(passwords: Passwords) -> None:
    assert await passwords.verify("anything", "not a hash") == (False, None)


async def test_whoever_finds_the_queue_full_is_turned_away_and_it_drains(deployment: Deployment) -> None:
    passwords = Passwords(deployment.having(password_threads="1", password_queue="2").settings)
    try:
        known = await passwords.hash("right")
        results = await asyncio.gather(
            *(passwords.verify("right", known) for _ in range(10)), return_exceptions=True
        )
        again = await passwords.verify("right", known)
    finally:
        passwords.close()

    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 7
    assert sum(bool(refusal.detail) for refusal in refused) < 7  # not a line of the log for each
    assert sum(result == (True, None) for result in results) == 3
    assert again == (True, None)


async def test_who_would_wait_too_long_is_turned_away_though_there_is_room(deployment: Deployment) -> None:
    slow = deployment.having(password_memory_kib="16384", password_iterations="4", password_threads="1")
    passwords = Passwords(slow.having(password_wait="0.001").settings)
    try:
        known = await passwords.hash("right")
        # One is made and one is next, however long it takes: the third would have to wait for that.
        results = await asyncio.gather(
            *(passwords.verify("right", known) for _ in range(5)), return_exceptions=True
        )
    finally:
        passwords.close()

    assert [type(result) for result in results] == [tuple, tuple, Unavailable, Unavailable, Unavailable]


async def test_a_hash_that_nobody_waits_for_any_more_is_not_made(deployment: Deployment) -> None:
    slow = deployment.having(password_memory_kib="32768", password_iterations="8", password_threads="1")
    passwords = Passwords(slow.having(password_wait="60").settings)
    leaving = asyncio.Event()

    async def gone() -> None:
        await leaving.wait()

    try:
        first = asyncio.create_task(passwords.verify("wrong", None, gone))
        others = [asyncio.create_task(passwords.verify("wrong", None, gone)) for _ in range(3)]
        await asyncio.sleep(0)
        assert passwords.taken == 4
        leaving.set()
        await asyncio.wait(others)
        assert not first.done()
        assert passwords.taken == 1
        # What has begun is finished: its caller may have been told already.
        assert await first == (False, None)
    finally:
        passwords.close()

    assert [type(each.exception()) for each in others] == [ClientDisconnect] * 3


@pytest.mark.parametrize("password", ["short", "é" * 600], ids=["too short", "too long"])
def test_a_weak_password_is_refused_with_the_reason(deployment: Deployment, password: str) -> None:
    passwords = Passwords(deployment.settings)
    try:
        with pytest.raises(WeakPassword, match=r"too (short|long)"):
            passwords.check_new(password)
    finally:
        passwords.close()
