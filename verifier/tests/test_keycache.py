import asyncio
import time
from typing import Any

import pytest

from sealwright import Options, Unavailable, Verifier
from sealwright._keycache import Fetched, FetchFailed, KeyCache, max_age_of
from sealwright._keys import Key, KeySet
from sealwright.testing import Issuer

pytestmark = pytest.mark.anyio


class Publisher:
    """A JWKS that counts how often it was asked for."""

    def __init__(self, *keys: Key) -> None:
        self.keys = keys
        self.asked = 0
        self.at_once = 0
        self.most_at_once = 0
        self.down = False
        self.max_age: float | None = None

    async def __call__(self, _: str | None) -> Fetched:
        self.asked += 1
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        await asyncio.sleep(0.01)
        self.at_once -= 1
        if self.down:
            raise FetchFailed("down")
        return Fetched(KeySet(self.keys), self.max_age, None)


async def test_a_thousand_who_miss_one_key_make_one_fetch(keys: KeySet) -> None:
    publisher = Publisher(*keys.values())
    cache = KeyCache(publisher, max_age=300, pause=1)

    await asyncio.gather(*(cache.find(next(iter(keys))) for _ in range(900)))

    assert (publisher.asked, publisher.most_at_once) == (1, 1)
    assert set(cache.keys) == set(keys)


async def test_a_failure_is_not_asked_for_again_at_once_and_keeps_the_last_good_keys(keys: KeySet) -> None:
    publisher = Publisher(*keys.values())
    cache = KeyCache(publisher, max_age=300, pause=0.01)
    await cache.refresh()
    publisher.down = True
    began = time.monotonic()
    failures = 0
    while time.monotonic() < began + 0.3:
        with pytest.raises(Unavailable):
            await cache.find(f"kid-{failures}")
        failures += 1
        await asyncio.sleep(0)

    assert publisher.asked < 10 < failures
    assert set(cache.keys) == set(keys)
    assert cache.problem == "down"


async def test_keys_are_fetched_ahead_of_their_end(keys: KeySet) -> None:
    publisher = Publisher(*keys.values())
    publisher.max_age = 0.2
    cache = KeyCache(publisher, max_age=300, pause=0.01)
    following = asyncio.create_task(cache.follow())
    await asyncio.sleep(0)
    deadline = time.monotonic() + 10
    while publisher.asked < 4:
        assert cache.keys or publisher.asked <= 1
        assert time.monotonic() < deadline
        await asyncio.sleep(0.005)
    following.cancel()
    await asyncio.wait([following])


async def test_a_key_that_is_unchanged_stays_the_same_object(keys: KeySet) -> None:
    publisher = Publisher(*keys.values())
    cache = KeyCache(publisher, max_age=300, pause=0)
    await cache.refresh()
    before = dict(cache.keys)
    publisher.keys = tuple(KeySet.from_jwks({"keys": [key.to_jwk() for key in keys.values()]}).values())
    await cache.refresh()

    assert all(cache.keys[kid] is key for kid, key in before.items())


async def test_an_overlong_kid_is_nobodys_and_not_asked_for(keys: KeySet) -> None:
    publisher = Publisher(*keys.values())
    await KeyCache(publisher, max_age=300, pause=1).find("k" * 300)
    assert publisher.asked == 0


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("no-store", None),
        ("max-age=300", 300),
        ("public, max-age=60, must-revalidate", 60),
        ("s-maxage=9", None),
    ],
)
def test_max_age_is_read_from_cache_control(header: str | None, seconds: float | None) -> None:
    assert max_age_of(header) == seconds


@pytest.mark.parametrize("rotations", [100, pytest.param(1000, marks=pytest.mark.minute)])
async def test_rotations_under_constant_verification_give_no_false_401(
    served_with_small_keys: Any, rotations: int
) -> None:
    served, issuer = served_with_small_keys, served_with_small_keys.issuer
    options = Options(algorithms=("EdDSA",), key_pause=0.001)
    rotating, verified = True, 0
    progress = asyncio.Event()

    async def verify(verifier: Verifier, issuer: Issuer) -> None:
        nonlocal verified
        while rotating:
            await verifier.authenticate(issuer.token())  # raises on any refusal
            verified += 1
            progress.set()
            await asyncio.sleep(0)

    async with Verifier(**served.settings(options=options)) as verifier:
        workers = [asyncio.create_task(verify(verifier, issuer)) for _ in range(4)]
        for _ in range(rotations):
            issuer.rotate(keep=8)
            progress.clear()
            await progress.wait()
        rotating = False
        await asyncio.gather(*workers)

    assert verified >= rotations
    assert issuer.requests["/.well-known/jwks.json"] > rotations / 2
