"""Programs that call others: a TokenSource against an issuer over real sockets, calling a real API."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from sealwright import TokenRefused, TokenSource, Unavailable
from sealwright.testing import Issuer

pytestmark = pytest.mark.anyio

TOKEN = "/token"


class Api:
    """An API that answers what it was sent; refuses the tokens that it is told to."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.refuses: set[str] = set()

    def __call__(self, request: httpx2.Request) -> httpx2.Response:
        token = request.headers["Authorization"].removeprefix("Bearer ")
        self.seen.append(token)
        if token in self.refuses:
            return httpx2.Response(401, headers={"WWW-Authenticate": 'Bearer error="invalid_token"'})
        return httpx2.Response(200, content=request.content)


@pytest.fixture
def api() -> Api:
    return Api()


def source(served: Any, **more: Any) -> TokenSource:
    issuer: Issuer = served.issuer
    return TokenSource(issuer.client_id, issuer.client_secret, **{"issuer": issuer.url, **more})


def calling(api: Api, auth: httpx2.Auth) -> httpx2.AsyncClient:
    return httpx2.AsyncClient(transport=httpx2.MockTransport(api), auth=auth, base_url="http://api")


async def test_however_many_requests_one_question_is_asked(served: Any, api: Api) -> None:
    async with source(served) as tokens, calling(api, tokens) as client:
        await asyncio.gather(*(client.get("/") for _ in range(100)))
    assert len(set(api.seen)) == 1
    assert served.issuer.requests[TOKEN] == 1


def test_threads_share_one_question_too(served: Any, api: Api) -> None:
    with (
        source(served) as tokens,
        httpx2.Client(transport=httpx2.MockTransport(api), auth=tokens, base_url="http://api") as client,
        ThreadPoolExecutor(8) as pool,
    ):
        list(pool.map(lambda _: client.get("/"), range(50)))
    assert len(set(api.seen)) == 1
    assert served.issuer.requests[TOKEN] == 1


async def test_a_token_is_renewed_ahead_while_the_old_one_is_still_sent(
    served: Any, api: Api, until: Any
) -> None:
    async with source(served) as tokens, calling(api, tokens) as client:
        await client.get("/")
        age(tokens, by=850)
        await client.get("/")
        assert api.seen[0] == api.seen[1]
        await until(lambda: served.issuer.requests[TOKEN] == 2 and tokens._flight is None, "it is renewed")
        await client.get("/")
    assert api.seen[2] != api.seen[0]


async def test_an_outage_is_survived_as_long_as_the_token_lives(served: Any, api: Api) -> None:
    async with source(served, timeout=0.2) as tokens, calling(api, tokens) as client:
        await client.get("/")
        served.stop()
        age(tokens, by=850)
        assert (await client.get("/")).status_code == 200
        age(tokens, by=100)
        with pytest.raises(Unavailable):
            await client.get("/")
        served.start()
        assert (await client.get("/")).status_code == 200


async def test_a_refused_token_is_replaced_once(served: Any, api: Api) -> None:
    async with source(served) as tokens, calling(api, tokens) as client:
        await client.get("/")
        age(tokens, by=10)
        api.refuses.add(api.seen[0])
        answer = await client.post("/", content=b"the body")
        assert (answer.status_code, answer.content) == (200, b"the body")
        api.refuses.add(api.seen[-1])
        assert (await client.get("/")).status_code == 401  # a fresh one: the token is not the reason
    assert served.issuer.requests[TOKEN] == 2


async def test_it_follows_the_rotation_of_a_refresh_token(served: Any, api: Api) -> None:
    issuer: Issuer = served.issuer
    stored: list[str] = []
    first = issuer.refresh_token()
    async with (
        source(served, refresh_token=first, on_rotation=stored.append) as tokens,
        calling(api, tokens) as client,
    ):
        for _ in range(3):
            await client.get("/")
            age(tokens, by=900)
    assert len({first, *stored}) == 4
    assert len(set(api.seen)) == 3


async def test_the_new_refresh_token_is_stored_before_the_access_token_is_used(served: Any, api: Api) -> None:
    seen_when_stored: list[int] = []

    async def store(_: str) -> None:
        await asyncio.sleep(0)
        seen_when_stored.append(len(api.seen))

    first = served.issuer.refresh_token()
    async with (
        source(served, refresh_token=first, on_rotation=store) as tokens,
        calling(api, tokens) as client,
    ):
        await client.get("/")
    assert seen_when_stored == [0]


async def test_a_refresh_token_that_could_not_be_stored_is_stored_before_the_next_is_asked_for(
    served: Any, api: Api
) -> None:
    issuer: Issuer = served.issuer
    given: list[tuple[str, int]] = []

    async def store(refresh_token: str) -> None:
        given.append((refresh_token, issuer.requests[TOKEN]))
        if len(given) <= 2:
            raise OSError("the disk is full")

    async with (
        source(served, refresh_token=issuer.refresh_token(), on_rotation=store) as tokens,
        calling(api, tokens) as client,
    ):
        for _ in range(2):
            with pytest.raises(OSError, match="full"):
                await client.get("/")
        assert (await client.get("/")).status_code == 200
    (first, asked), again, stored, (second, asked_then) = given
    assert again == stored == (first, asked)
    assert second != first
    assert (asked, asked_then) == (1, 2)


def test_without_an_event_loop_it_is_stored_before_the_next_is_asked_for_too(served: Any) -> None:
    issuer: Issuer = served.issuer
    given: list[tuple[str, int]] = []

    def store(refresh_token: str) -> None:
        given.append((refresh_token, issuer.requests[TOKEN]))
        if len(given) == 1:
            raise OSError("the disk is full")

    with source(served, refresh_token=issuer.refresh_token(), on_rotation=store) as tokens:
        with pytest.raises(OSError, match="full"):
            tokens.blocking_token()
        assert tokens.blocking_token()
    assert given[0] == given[1]
    assert [asked for _, asked in given] == [1, 1, 2]


async def test_an_answer_that_drips_does_not_outlast_the_timeout(until: Any) -> None:
    started = asyncio.Event()

    async def drip(_: httpx2.Request) -> httpx2.Response:
        started.set()
        await asyncio.sleep(3600)
        raise AssertionError

    tokens = TokenSource("a", "b", issuer="https://a", timeout=0.05, transport=httpx2.MockTransport(drip))
    async with tokens:
        asking = asyncio.create_task(tokens.token())
        await started.wait()
        await until(asking.done, "it is given up")
        assert isinstance(asking.exception(), Unavailable)


async def test_a_lost_answer_is_asked_for_again_with_the_same_refresh_token(served: Any, api: Api) -> None:
    issuer: Issuer = served.issuer
    stored: list[str] = []
    first = issuer.refresh_token()
    served.lose_answers = 1
    async with (
        source(served, refresh_token=first, on_rotation=stored.append) as tokens,
        calling(api, tokens) as client,
    ):
        assert (await client.get("/")).status_code == 200
    assert issuer.requests[TOKEN] == 2
    assert len(stored) == 1


async def test_giving_up_one_request_does_not_lose_a_rotated_refresh_token(
    served: Any, api: Api, until: Any
) -> None:
    stored: list[str] = []
    first = served.issuer.refresh_token()
    async with source(served, refresh_token=first, on_rotation=stored.append) as tokens:
        async with calling(api, tokens) as client:
            request = asyncio.create_task(client.get("/"))
            await until(lambda: tokens._flight is not None, "the question is on its way")
            request.cancel()
            await asyncio.wait([request])
        await tokens.token()
    assert len(stored) == 1


async def test_a_refusal_says_the_issuers_code_and_no_secret(served: Any) -> None:
    async with source(served, refresh_token="not one") as tokens:
        with pytest.raises(TokenRefused) as refused:
            await tokens.token()
    assert refused.value.error == "invalid_grant"
    assert served.issuer.client_secret not in repr(tokens) + repr(vars(refused.value))


async def test_a_secret_may_be_a_function_of_the_moment(served: Any) -> None:
    issuer: Issuer = served.issuer
    given = iter(["old", issuer.client_secret])
    async with TokenSource(issuer.client_id, lambda: next(given), issuer=issuer.url) as tokens:
        with pytest.raises(TokenRefused):
            await tokens.token()
        assert await tokens.token()


def test_it_is_auth_for_httpx_where_that_is_installed(served: Any) -> None:
    httpx = pytest.importorskip("httpx")
    api = Api()
    with source(served) as tokens:
        transport = httpx.MockTransport(lambda request: httpx.Response(api(request).status_code))
        with httpx.Client(transport=transport, auth=tokens.for_httpx()) as client:
            assert client.get("http://api/").status_code == 200


def age(tokens: TokenSource, *, by: float) -> None:
    """Let a token that lives 900 s be so many seconds older."""
    held = tokens._held
    assert held is not None
    for name in ("since", "renew_at", "over_at"):
        object.__setattr__(held, name, getattr(held, name) - by)
    assert held.since < time.monotonic()
