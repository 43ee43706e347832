"""Many questions to /introspect at once."""

import asyncio
from typing import Any

import pytest

from sealwright import Unavailable
from sealwright._discovery import Endpoints
from sealwright._http import Reply
from sealwright._introspection import _AT_ONCE, Introspection

pytestmark = pytest.mark.anyio


class Busy:
    """An issuer that answers nobody until it is let."""

    def __init__(self) -> None:
        self.asked = 0
        self.answers = asyncio.Event()

    async def endpoints(self) -> Endpoints:
        return Endpoints("https://a/jwks", "https://a/introspect", "https://a/revocations")

    async def send(self, *_: object, **__: object) -> Reply:
        self.asked += 1
        await self.answers.wait()
        return Reply(200, {}, b'{"active": true}')


async def test_who_waits_in_vain_behind_others_does_not_keep_the_next_from_asking(until: Any) -> None:
    issuer: Any = Busy()
    introspection = Introspection(issuer, timeout=60)
    first = [asyncio.create_task(introspection.active("t", bytes([n]))) for n in range(_AT_ONCE)]
    await until(lambda: issuer.asked == _AT_ONCE, "all places are taken")

    introspection._timeout = 0.01
    with pytest.raises(Unavailable, match="too many"):
        await introspection.active("t", b"late")
    introspection._timeout = 60
    issuer.answers.set()

    assert all(await asyncio.gather(*first))
    assert await introspection.active("t", b"late")
    assert introspection.failures == 0
    await introspection.close()
