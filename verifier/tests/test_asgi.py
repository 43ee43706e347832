import json
from typing import Any

import httpx2
import pytest

from sealwright._rules import allow
from sealwright.asgi import CALLER, BearerMiddleware, scopes
from sealwright.testing import Issuer

pytestmark = pytest.mark.anyio


async def application(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        assert (await receive())["type"] == "lifespan.startup"
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    caller = scope.get(CALLER)
    body = json.dumps(caller.sub if caller else None).encode()
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": body})


async def test_only_a_caller_with_a_good_token_gets_past_it(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    app = BearerMiddleware(application, verifier, rule=scopes("orders:read"), public=["/healthz"])
    transport = httpx2.ASGITransport(app=app)
    async with verifier, httpx2.AsyncClient(transport=transport, base_url="http://orders") as client:

        async def get(path: str, **claims: Any) -> httpx2.Response:
            return await client.get(path, headers={"Authorization": f"Bearer {issuer.token(**claims)}"})

        good = await get("/", sub="alice", scope="orders:read")
        assert (good.status_code, good.json()) == (200, "alice")

        lacking = await get("/")
        assert lacking.status_code == 403
        assert 'scope="orders:read"' in lacking.headers["WWW-Authenticate"]

        bad = await get("/", aud="other", scope="orders:read")
        assert bad.status_code == 401
        assert 'error="invalid_token"' in bad.headers["WWW-Authenticate"]

        none = await client.get("/")
        assert none.status_code == 401
        assert "error=" not in none.headers["WWW-Authenticate"]

        assert (await client.get("/healthz")).json() is None
        metadata = await client.get("/.well-known/oauth-protected-resource")
        assert metadata.json()["scopes_supported"] == ["orders:read"]

        with issuer.down():
            issuer.move_clock(31)
            undecided = await get("/", scope="orders:read")
            assert undecided.status_code == 503
            assert undecided.headers["Retry-After"]


async def test_it_starts_and_closes_the_verifier_with_the_application(issuer: Issuer) -> None:
    verifier = issuer.verifier()
    app = BearerMiddleware(application, verifier)
    sent: list[Any] = []
    messages = iter(("lifespan.startup", "lifespan.shutdown"))

    async def receive() -> Any:
        kind = next(messages)
        if kind == "lifespan.startup":
            assert verifier.health().ok
        return {"type": kind}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not verifier.health().ok


async def without_lifespan(scope: Any, _: Any, __: Any) -> None:
    assert scope["type"] == "http"


async def deaf(_: Any, __: Any, ___: Any) -> None:
    pass


@pytest.mark.parametrize("app", [without_lifespan, deaf])
async def test_it_keeps_the_verifier_going_for_an_application_without_lifespan(
    issuer: Issuer, app: Any
) -> None:
    verifier = issuer.verifier()
    sent: list[Any] = []

    async def receive() -> Any:
        if sent:
            assert verifier.health().ok
        return {"type": "lifespan.shutdown" if sent else "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message["type"])

    await BearerMiddleware(app, verifier)({"type": "lifespan"}, receive, send)

    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert not verifier.health().ok


async def test_a_wrong_setting_fails_the_start_of_the_application(issuer: Issuer) -> None:
    app = BearerMiddleware(application, issuer.verifier(client_secret="wrong"))
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "lifespan.startup"}

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "lifespan"}, receive, send)

    assert [message["type"] for message in sent] == ["lifespan.startup.failed"]
    assert "client_secret" in sent[0]["message"]


async def test_a_websocket_without_a_token_is_closed(issuer: Issuer) -> None:
    app = BearerMiddleware(application, issuer.verifier())
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    await app({"type": "websocket", "path": "/", "headers": []}, None, send)  # type: ignore[arg-type]

    assert [(message["type"], message["code"]) for message in sent] == [("websocket.close", 1008)]


def test_a_policy_cannot_stand_where_no_resource_is(issuer: Issuer) -> None:
    with pytest.raises(ValueError, match="resource"):
        BearerMiddleware(application, issuer.verifier(), rule=allow(lambda _, __: True))
