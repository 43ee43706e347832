"""Resource services on the library `sealwright`, trusting the real service."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Annotated, Any

import httpx2
import pytest
from fastapi import Depends, FastAPI
from fastapi.testclient import TestClient

from sealwright import Claims, ConfigurationError, InvalidToken, Options, TokenSource, Verifier
from sealwright.fastapi import Guard
from service.cli import demo
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, Tokens
from tests.support.database import until
from tests.support.deployment import Deployment, Server

pytestmark = pytest.mark.anyio

CREDENTIALS = {"client_id": demo.SERVICE.client_id, "client_secret": demo.SERVICE_SECRET}

Make = Callable[..., Verifier]


@pytest.fixture
def make(deployment: Deployment, server: Server) -> Make:
    """A Verifier of the demo's resource; the issuer is reached at another address than its name."""

    def made(**more: Any) -> Verifier:
        settings = {"issuer": deployment.issuer, "audience": demo.RESOURCE, "internal_url": server.url}
        return Verifier(**{**settings, **CREDENTIALS, **more})

    return made


@pytest.fixture
async def verifier(make: Make) -> AsyncIterator[Verifier]:
    async with make() as started:
        yield started


async def refused_within_a_second(verifier: Verifier, token: str, began: float) -> None:
    """Wait until a token is refused as revoked; longer on a machine that is busy than in the promise."""

    async def look() -> str:
        try:
            await verifier.authenticate(token)
        except InvalidToken as refused:
            return refused.reason
        return "good"

    assert await until(look, lambda seen: seen != "good", "the token is refused") == "revoked"
    assert time.monotonic() - began < 1


async def good(verifier: Verifier, token: str) -> Claims:
    return await verifier.authenticate(token)


async def off_loop(work: Callable[..., Any], *arguments: Any) -> tuple[Any, float]:
    """Do it in a thread, so that the verifier's loop goes on; return when it was done, too."""
    done = await asyncio.to_thread(work, *arguments)
    return done, time.monotonic()


async def test_a_signed_in_user_is_verified_and_refused_once_signed_out(
    verifier: Verifier, api: Api, http: httpx2.Client
) -> None:
    tokens: Tokens
    tokens, _ = await off_loop(api.sign_in)
    caller = await good(verifier, tokens.access)
    assert caller.sub == tokens.claims["sub"]
    assert caller.scope >= {"orders:read"}

    bearer = {"Authorization": f"Bearer {tokens.access}"}
    _, done = await off_loop(lambda: http.post("/logout", headers=bearer).raise_for_status())
    await refused_within_a_second(verifier, tokens.access, done)


async def test_what_a_user_or_client_loses_its_tokens_lose_here(
    verifier: Verifier, api: Api, actors: Actors
) -> None:
    user = await asyncio.to_thread(actors.user)
    client = await asyncio.to_thread(actors.client)

    def sign_in() -> str:
        return api.sign_in(user.username, PASSWORD, **client.form).access

    first, _ = await off_loop(sign_in)
    await good(verifier, first)
    _, done = await off_loop(actors.set_roles, user, demo.ALICE.role, "admin")
    await refused_within_a_second(verifier, first, done)

    second, _ = await off_loop(sign_in)
    await good(verifier, second)  # made under the new epoch
    _, done = await off_loop(actors.disable_client, client)
    await refused_within_a_second(verifier, second, done)


@pytest.mark.parametrize("max_feed_age", [1, 20, 300])
async def test_the_feed_is_followed_whatever_its_greatest_age(
    make: Make, api: Api, max_feed_age: float
) -> None:
    async with make(options=Options(max_feed_age=max_feed_age)) as verifier:
        for _ in range(2):
            tokens, _ = await off_loop(api.sign_in)
            await good(verifier, tokens.access)
            _, done = await off_loop(api.revoke, tokens.access)
            await refused_within_a_second(verifier, tokens.access, done)
        assert "sealwright_feed_failures_total 0\n" in verifier.metrics()


async def test_a_token_for_another_resource_or_of_another_kind_is_refused(
    make: Make, verifier: Verifier, api: Api
) -> None:
    tokens, _ = await off_loop(api.sign_in)
    with pytest.raises(InvalidToken, match="type"):
        await good(verifier, tokens.refresh)
    async with make(audience="http://localhost:8002") as other:
        with pytest.raises(InvalidToken, match="audience"):
            await good(other, tokens.access)


class WithoutFeed(httpx2.AsyncHTTPTransport):
    """The network, through which the feed is not reached."""

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        if request.url.path == "/revocations":
            raise httpx2.ConnectError("no way through")
        return await super().handle_async_request(request)


async def test_without_the_feed_the_service_is_asked_about_each_token(make: Make, api: Api) -> None:
    async with make(transport=WithoutFeed(), options=Options(introspect_timeout=10)) as verifier:
        tokens, _ = await off_loop(api.sign_in)
        assert verifier.health().doing == "introspect"
        await good(verifier, tokens.access)
        _, done = await off_loop(api.revoke, tokens.access)
        # The answer of before may be remembered for a second.
        await refused_within_a_second(verifier, tokens.access, done + 1)


async def test_a_name_that_does_not_fit_says_what_to_set(make: Make, server: Server) -> None:
    with pytest.raises(
        ConfigurationError, match=f"set issuer='http://localhost:8000' and internal_url='{server.url}'"
    ):
        await make(issuer=server.url, internal_url=None).start()
    with pytest.raises(ConfigurationError, match="client_secret"):
        await make(client_secret="wrong").start()


async def test_a_program_gets_tokens_and_follows_the_rotation(
    verifier: Verifier, deployment: Deployment, server: Server, api: Api
) -> None:
    at: dict[str, Any] = {"issuer": deployment.issuer, "internal_url": server.url}
    async with TokenSource(*CREDENTIALS.values(), **at, scope=["orders:read"]) as tokens:
        caller = await good(verifier, await tokens.token())
    assert (caller.sub, caller.scope) == (demo.SERVICE.client_id, frozenset({"orders:read"}))

    signed_in, _ = await off_loop(api.sign_in)
    stored: list[str] = []
    async with TokenSource(
        demo.APP.client_id, None, **at, refresh_token=signed_in.refresh, on_rotation=stored.append
    ) as tokens:
        caller = await good(verifier, await tokens.token())
    assert caller.sub == signed_in.claims["sub"]
    assert len(stored) == 1


@pytest.mark.parametrize(
    ("form", "client"),
    [
        ({"grant_type": "client_credentials"}, (demo.SERVICE.client_id, demo.SERVICE_SECRET)),
        (
            {"grant_type": "password", "username": demo.ALICE.username, "password": demo.PASSWORD},
            (demo.APP.client_id, ""),
        ),
    ],
)
def test_the_authorize_button_of_a_services_own_page_signs_in(
    make: Make, form: dict[str, str], client: tuple[str, str]
) -> None:
    guard = Guard(make(), development=True)
    app = FastAPI(lifespan=guard.lifespan)
    app.include_router(guard.router)

    @app.get("/")
    def whoami(caller: Annotated[Claims, Depends(guard.scopes("orders:read"))]) -> str:
        return caller.client_id

    with TestClient(app) as browser:
        schemes = browser.get("/openapi.json").json()["components"]["securitySchemes"]
        url = schemes["Sealwright"]["flows"]["password"]["tokenUrl"]
        answer = browser.post(url, data={**form, "scope": "orders:read"}, auth=client)
        assert answer.status_code == 200, answer.text
        bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
        assert browser.get("/", headers=bearer).json() == client[0]
