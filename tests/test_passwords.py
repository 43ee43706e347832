"""Hashing: the same work whoever asks, and a bounded queue."""

import asyncio
import time
from collections.abc import Iterator

import pytest

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

    assert sum(isinstance(result, Unavailable) for result in results) == 7
    assert sum(result == (True, None) for result in results) == 3
    assert again == (True, None)


@pytest.mark.parametrize("password", ["short", "é" * 600], ids=["too short", "too long"])
def test_a_weak_password_is_refused_with_the_reason(deployment: Deployment, password: str) -> None:
    passwords = Passwords(deployment.settings)
    try:
        with pytest.raises(WeakPassword, match=r"too (short|long)"):
            passwords.check_new(password)
    finally:
        passwords.close()
