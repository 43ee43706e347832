"""The first thing a request meets: when and where it came from, and the documents that need no routing."""

import asyncio
import math
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service import cors
from service.background import Background
from service.cors import Cors
from service.documentation import STRING, json_answer, members
from service.draining import Drain
from service.http import ARRIVED, matches
from service.metadata import JWKS_PATH, PATHS
from service.proxies import TrustedProxies
from service.routing import PlainRoute
from service.settings import Settings
from service.signing import KeyRingWatcher

TICK = 0.25
"""Seconds between two ticks of the loop."""

STALL = 1.0
"""A pause of more seconds than this is taken for a process that was stopped."""

LATE = 0.1
"""A tick that comes later than this still has work of the pause before it."""

SETTLE = 10.0
"""Seconds after which a pause is over, however late the ticks are."""


class Arrivals:
    """Tells when a request came in, even if this process was stopped at the time.

    A process that was stopped reads, when it goes on, requests that have waited in the kernel, perhaps long
    given up by who sent them. So the loop ticks; after a pause in its ticking, whatever is read counts as
    having come when the pause began, until the loop has worked off what had piled up and ticks on time again.
    """

    def __init__(self) -> None:
        self._ticked = time.monotonic()
        self._paused_at = 0.0
        self._resumed_at = 0.0
        self._settled_at = 0.0
        self._background = Background()

    async def start(self) -> None:
        """Begin to tick."""
        self._ticked = time.monotonic()
        self._background.start(self._tick(), "arrivals")

    async def stop(self) -> None:
        """Stop ticking."""
        await self._background.stop()

    def earliest(self, read_at: float) -> float:
        """Return the earliest moment at which a request can have come in; all by the monotonic clock."""
        self._notice(time.monotonic())
        return self._paused_at if self._paused_at <= read_at < self._settled_at else read_at

    def _notice(self, now: float) -> None:
        if now - self._ticked > STALL:
            if self._settled_at < math.inf:
                self._paused_at, self._settled_at = self._ticked, math.inf
            self._resumed_at = now

    async def _tick(self) -> None:
        while True:
            due = time.monotonic() + TICK
            await asyncio.sleep(TICK)
            now = time.monotonic()
            self._notice(now)
            on_time = now - due < LATE
            # A machine that stays too busy to tick on time would never settle; nothing waits in the kernel so long.
            if self._settled_at == math.inf and (on_time or now - self._resumed_at > SETTLE):
                self._settled_at = now
            self._ticked = now


class Front:
    """Answers the JWKS and the metadata from bytes; everything else goes on to the app."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        settings: Settings,
        keys: KeyRingWatcher,
        metadata: bytes,
        arrivals: Arrivals,
        drain: Drain,
        allowed: Cors,
    ) -> None:
        self._app = app
        self._keys = keys
        self._arrivals = arrivals
        self._drain = drain
        self._cors = allowed
        self._proxies = TrustedProxies.of(settings)
        self._max_age = f"public, max-age={int(settings.jwks_max_age.total_seconds())}".encode()
        self._metadata = metadata

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] == "http":
            if self._drain.begun:
                send = self._drain.closing(send)
            path = scope["path"]
            if path == JWKS_PATH and scope["method"] in {"GET", "HEAD"}:
                ring = self._keys.ring
                await self._document(scope, send, ring.jwks, ring.etag.encode())
                return
            if path in PATHS and scope["method"] in {"GET", "HEAD"}:
                await self._document(scope, send, self._metadata, None)
                return
            origin = cors.origin_of(scope)
            if origin is not None:
                readable = await self._cors.admit(scope, send, origin)
                if readable is None:
                    return
                send = readable
            if self._proxies is not None:
                scope["client"] = self._proxies.client(scope)
            scope[ARRIVED] = self._arrivals.earliest(scope.get(ARRIVED, time.monotonic()))
            if scope["method"] == "HEAD":
                # As GET (RFC 9110 9.3.2); the server leaves the body out, by the scope that it keeps.
                get = {**scope, "method": "GET"}
                await self._app(get, receive, send)
                scope["route"] = get.get("route")
                return
        await self._app(scope, receive, send)

    async def _document(self, scope: Scope, send: Send, body: bytes, etag: bytes | None) -> None:
        headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", self._max_age),
            # Browsers of any origin may read what is public.
            (b"access-control-allow-origin", b"*"),
        ]
        status = 200
        if etag is not None:
            headers.append((b"etag", etag))
            if matches(scope, etag):
                status, body = 304, b""
        if status == 200:
            headers.append((b"content-length", str(len(body)).encode()))
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def routes() -> APIRouter:
    """Return the documents' routes: for the OpenAPI page, and so that any other method is a 405."""
    router = APIRouter(route_class=PlainRoute, tags=["documents"])
    router.get(JWKS_PATH, **_JWKS)(_answered_in_front)
    for path in PATHS:
        router.get(path, **_METADATA)(_answered_in_front)
    return router


async def _answered_in_front(request: Request) -> Response:
    raise AssertionError(f"{request.url.path} is answered before routing")


_URL = {"type": "string", "format": "uri"}
_JWKS: dict[str, Any] = {
    "summary": "The public keys",
    "description": "RFC 7517: the next key, the active one, and retired ones that tokens still carry. May be kept for "
    "the max-age of Cache-Control; then ask again with If-None-Match.",
    "responses": {
        200: json_answer(
            "The key set",
            members("keys", keys={"type": "array", "items": {"type": "object"}}),
            {
                "keys": [
                    {
                        "kty": "RSA",
                        "n": "0vx7agoe…",
                        "e": "AQAB",
                        "use": "sig",
                        "alg": "RS256",
                        "kid": "NzbLsXh8…",
                    }
                ]
            },
        ),
        304: {"description": "Nothing has changed since the ETag in If-None-Match"},
    },
}
_METADATA: dict[str, Any] = {
    "summary": "What this issuer can do, and where",
    "description": "RFC 8414; the same document at both paths.",
    "responses": {
        200: json_answer(
            "The metadata",
            members(
                "issuer",
                "token_endpoint",
                "jwks_uri",
                "response_types_supported",
                issuer=_URL,
                token_endpoint=_URL,
                jwks_uri=_URL,
                response_types_supported={"type": "array", "items": STRING},
            ),
            {
                "issuer": "http://localhost:8000",
                "token_endpoint": "http://localhost:8000/token",
                "jwks_uri": "http://localhost:8000/.well-known/jwks.json",
                "response_types_supported": [],
            },
        )
    },
}
