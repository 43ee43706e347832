"""uvicorn's HTTP/1.1, with a bound on what a connection may send and how slowly, and on how many there are."""

import asyncio
import json
import time
from typing import Any, Literal, cast

from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.errors import Unavailable, render
from service.http import ARRIVED

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; besides them at most what one read brings."""

HEAD_TIMEOUT = 10.0
"""Seconds for a connection to send its first request's head, and for any other to be sent once it is begun."""

BODY_TIMEOUT = 10.0
"""Seconds for a request's body to be sent, once its head has come: 64 KiB at 52 kbit/s."""

ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
"""However many connections there are: a worker that is merely busy must not be taken for a dead one."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection. httptools itself would collect headers without end, before any of our code is asked.

    A timer runs only while a head or a body is awaited: what comes whole in one read costs none.
    """

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        # uvicorn's own answer beyond the limit has no Retry-After, and would go to those who came before, too.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._awaited: Literal["head", "body"] | None = None
        self._head = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Give the first request its time."""
        super().connection_made(transport)
        if self._most is not None and len(self.connections) > self._most:
            # Answered all the same: a connection that is only closed looks like a broken one.
            self.app = self._busy
        self._start_timer(HEAD_TIMEOUT)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has grown too large."""
        super().data_received(data)
        if self._awaited == "head":
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, "the request's line and headers are too large")
            elif self._timer is None:
                self._start_timer(HEAD_TIMEOUT)
        elif self._awaited == "body" and self._timer is None:
            self._start_timer(BODY_TIMEOUT)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._awaited, self._head = "head", 0

    def on_headers_complete(self) -> None:
        """Note when the request came: what handles it may do so much later, behind others."""
        self._awaited = "body"
        self._stop_timer()
        cast("dict[str, object]", self.scope)[ARRIVED] = time.monotonic()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for nothing until the next request begins."""
        self._awaited = None
        self._stop_timer()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        if self._may_answer():
            self.transport.write(self._refusal(status, detail))
        self._awaited = None
        self._stop_timer()
        self.transport.close()

    def _may_answer(self) -> bool:
        """Whether what is said now would be read as the answer to the request that is refused, and no other's."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.pipeline or cycle is None:
            return not self.pipeline
        return not cycle.response_started if self._awaited == "body" else cycle.response_complete

    def _refusal(self, status: int, detail: str) -> bytes:
        title = STATUS_LINE[status].decode("ascii").split(" ", 2)[2].strip()
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        headers = [
            *self.server_state.default_headers,
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"cache-control", b"no-store"),
            (b"connection", b"close"),
        ]
        return b"".join([STATUS_LINE[status], *(b"%s: %s\r\n" % header for header in headers), b"\r\n", body])

    async def _busy(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] in ALWAYS_ANSWERED:
            await self.config.loaded_app(scope, receive, send)
            return
        refused = await render(
            Request(scope),
            Unavailable("the service", detail=f"there are more than {self._most} connections"),
        )
        refused.headers["Connection"] = "close"
        await refused(scope, receive, send)

    def _start_timer(self, seconds: float) -> None:
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._refuse(408, "the request did not come in time")
