"""uvicorn's HTTP/1.1, with a bound on all that comes before a request's body, and the time at which it came."""

import asyncio
import json
import time
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from service.http import ARRIVED

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; besides them at most what one read brings."""

HEAD_TIMEOUT = 10.0
"""Seconds for a connection to send its first request's head, and for any other to be sent once it is begun."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection. httptools itself would collect headers without end, before any of our code is asked."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._in_head = False
        self._head = 0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Give the first request its time."""
        super().connection_made(transport)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head has grown too large."""
        super().data_received(data)
        if self._in_head:
            self._head += len(data)
            if self._head > MAX_HEAD:
                self._refuse(431, "the request's line and headers are too large")

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self._in_head, self._head = True, 0
        if self._timer is None:
            self._start_timer()

    def on_headers_complete(self) -> None:
        """Note when the request came: what handles it may do so much later, behind others."""
        self._in_head = False
        self._stop_timer()
        cast("dict[str, object]", self.scope)[ARRIVED] = time.monotonic()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        self._in_head = False
        self._stop_timer()
        title = STATUS_LINE[status].decode("ascii").split(" ", 2)[2].strip()
        problem = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        body = json.dumps(problem).encode()
        head = (
            f"content-type: application/problem+json\r\ncontent-length: {len(body)}\r\n"
            "cache-control: no-store\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(STATUS_LINE[status] + head.encode("ascii") + body)
        self.transport.close()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(HEAD_TIMEOUT, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._timer = None
        self._refuse(408, "the request did not come in time")
