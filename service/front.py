"""What is found out of a request before it is routed: when and where it came from, and which page may read of it."""

import asyncio
import math
import time

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from service import cors
from service.background import Background
from service.cors import Cors
from service.errors import Refusal, render
from service.http import ARRIVED, EARLIEST
from service.proxies import TrustedProxies
from service.settings import Settings

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


_FORGED = Refusal(
    "this comes from a page of another site; register its origin with the client that it belongs to",
    status=403,
)


class Front:
    """Notes in a request's scope what is found out, and hands it on."""

    def __init__(self, app: ASGIApp, *, settings: Settings, arrivals: Arrivals, allowed: Cors) -> None:
        self._app = app
        self._earliest = arrivals.earliest
        self._cors = allowed
        self._proxies = TrustedProxies.of(settings)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, unless it is a preflight: that is answered."""
        if scope["type"] == "http":
            origin = cors.origin_of(scope)
            if origin is not None:
                if self._cors.is_forged(scope, origin):
                    await (await render(Request(scope), _FORGED))(scope, receive, send)
                    return
                readable = await self._cors.admit(scope, send, origin)
                if readable is None:
                    return
                send = readable
            if self._proxies is not None:
                scope["client"] = self._proxies.client(scope)
            scope[ARRIVED] = self._earliest(scope.get(ARRIVED, time.monotonic()))
            scope[EARLIEST] = self._earliest
            if scope["method"] == "HEAD":
                # As GET (RFC 9110 9.3.2); the server leaves the body out, by the scope that it keeps.
                get = {**scope, "method": "GET"}
                await self._app(get, receive, send)
                scope["route"] = get.get("route")
                return
        await self._app(scope, receive, send)
