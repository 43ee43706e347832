"""uvicorn's HTTP/1.1, with a bound on what a connection may send and how slowly, and on how many there are."""

import asyncio
import json
import math
import time
from typing import Any, ClassVar, Literal, cast

import httptools
from starlette.requests import Request
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from service.crowding import Crowd
from service.errors import Shedding, Unavailable, render
from service.http import ARRIVED, COMPLETED, HUNG_UP
from service.sending import Answer, Common

MAX_HEAD = 64 * 1024
"""Bytes of a request's line and headers; besides them at most what one read brings."""

MAX_FIELDS = 128
"""Of a request's head. Each takes a hundred bytes and more here, even if it has but two."""

MAX_PIPELINED = 16
"""Requests that wait on a connection for the one before. Some thousands come in one read, and would be kept."""

MAX_PIECES = 4096
"""Chunks and trailers of one body. Each chunk makes the server copy what came before it."""

HEAD_TIMEOUT = 10.0
"""Seconds for a connection to send its first request's head, and for any other to be sent once it is begun."""

BODY_TIMEOUT = 10.0
"""Seconds for a request's body to be sent, once its head has come: 64 KiB at 52 kbit/s."""

MAX_SENT = 256 * 1024
"""Bytes of a body as it is sent, with all that stands around its chunks, besides at most what one read brings. How
much of it is taken is the endpoints'."""

TAKING_TIMEOUT = 30.0
"""Seconds for answers to be taken that wait here because the caller reads none: 16 MiB at 4.5 Mbit/s."""

MAX_BUSY = 64
"""Connections beyond the limit that are told so; more are closed as they come."""

BUSY_TIMEOUT = 2.0
"""Seconds for such a connection to send the head that is answered."""

ALWAYS_ANSWERED = frozenset({"/healthz", "/readyz", "/metrics"})
"""However many connections there are: a worker that is merely busy must not be taken for a dead one."""


class _TooMuch(Exception):
    """What the parser has found is more than is taken."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class BoundedProtocol(HttpToolsProtocol):
    """A connection. httptools itself would collect headers without end, before any of our code is asked.

    A timer runs only while a head or a body is awaited: what comes whole in one read costs none.
    """

    # A process serves one port.
    _crowd: ClassVar = Crowd()
    _shedding: ClassVar = Shedding()

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        # uvicorn's own answer beyond the limit has no Retry-After, and would go to those who came before, too.
        self._most, self.limit_concurrency = self.limit_concurrency, None
        self._awaited: Literal["head", "body"] | None = None
        self._sent = 0
        self._pieces = 0
        self._timer: asyncio.TimerHandle | None = None
        self._timed_since = 0.0
        self._taking: asyncio.TimerHandle | None = None
        self._common = Common(self.server_state)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Give the first request its time."""
        super().connection_made(transport)
        everybody = cast("set[BoundedProtocol]", self.connections)
        beyond = 0 if self._most is None else len(everybody) - self._most
        if beyond <= 0 or self._crowd.make_room(everybody, self.loop.time()):
            self._start_timer(HEAD_TIMEOUT)
        elif beyond <= MAX_BUSY:
            # Answered all the same: a connection that is only closed looks like a broken one.
            self.app = self._busy
            self._start_timer(BUSY_TIMEOUT)
        else:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._stop_timer()
        self.resume_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read on, unless a head or a body has grown too large."""
        self._parse(data)
        if self._awaited is None:
            return
        self._sent += len(data)
        if self._awaited == "head" and self._sent > MAX_HEAD:
            self._refuse(431, "the request's line and headers are too large")
        elif self._awaited == "body" and self._sent > MAX_SENT:
            self._refuse(413, "the request's body is too large")
        elif self._timer is None:
            self._start_timer(HEAD_TIMEOUT if self._awaited == "head" else BODY_TIMEOUT)

    def _parse(self, data: bytes) -> None:
        pieces: list[bytes | memoryview] = [data]
        while pieces:
            piece = pieces.pop()
            try:
                self.parser.feed_data(piece)
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows for another protocol, the body too, and then for the next request:
                # behind a proxy its answer would go to somebody else. We know no other protocol (RFC 9110 7.8).
                pieces += [memoryview(piece)[upgrade.args[0] :], self._without_upgrade()]
                # This parser would take nothing more, if the connection is to be closed.
                self._renew_parser()
            except httptools.HttpParserError as error:
                found = error.__context__
                if isinstance(found, _TooMuch):
                    self._refuse(found.status, found.detail)
                else:
                    self.send_400_response("this is no HTTP request")
                return

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        if len(self.pipeline) == MAX_PIPELINED:
            # It is not told so: what comes next on this connection are the answers to those before.
            raise _TooMuch(400, "too many requests are sent without waiting for answers")
        super().on_message_begin()
        # Not for whatever else comes: a line break, or a body whose request is answered already, is no request.
        self._unset_keepalive_if_required()
        self._awaited, self._sent, self._pieces = "head", 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header, and no trailer: who looked at the headers, a proxy or we, has not seen it (RFC 9110 6.5.1)."""
        if self._awaited != "head":
            self.on_chunk_header()
        elif len(self.headers) < MAX_FIELDS:
            super().on_header(name, value)
        else:
            raise _TooMuch(431, "the request has too many headers")

    def on_headers_complete(self) -> None:
        """Note when the request came: what handles it may do so much later, behind others."""
        if self._is_upgrade():
            return
        self._awaited, self._sent = "body", 0
        self._stop_timer()
        scope = cast("dict[str, object]", self.scope)
        scope[ARRIVED] = time.monotonic()
        scope[HUNG_UP] = self.transport.is_closing
        super().on_headers_complete()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        answer = Answer(cycle, self._common)
        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, answer))

    def on_chunk_header(self) -> None:
        """Count the pieces of a body."""
        self._pieces += 1
        if self._pieces > MAX_PIECES:
            raise _TooMuch(413, "the request's body is in too many pieces")

    def on_message_complete(self) -> None:
        """Wait for nothing until the next request begins."""
        if self._is_upgrade():
            return
        self._awaited = None
        if self._timer is not None:  # the body was waited for
            _complete(self.scope)
            self._stop_timer()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, or close as soon as the caller has taken this answer."""
        if self.pipeline:
            _complete(self.pipeline[-1][0].scope)
        super().on_response_complete()
        if self._awaited == "head":  # the next request has begun, and has its own time
            self._unset_keepalive_if_required()
        if self.transport.is_closing():
            self._await_taking()

    def pause_writing(self) -> None:
        """Wait for the caller to take what it has asked for."""
        super().pause_writing()
        self._await_taking()

    def resume_writing(self) -> None:
        """Write on."""
        super().resume_writing()
        if self._taking is not None:
            self._taking.cancel()
            self._taking = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection that has been idle for too long."""
        super().timeout_keep_alive_handler()
        self._await_taking()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, msg)

    def _refuse(self, status: int, detail: str) -> None:
        if self._may_answer():
            self.transport.write(self._refusal(status, detail))
        self._awaited = None
        self._stop_timer()
        self.transport.close()
        self._await_taking()

    def _await_taking(self) -> None:
        # Without a bound, who reads nothing would hold a connection, and what waits for it in memory, for ever.
        if self._taking is None and self.transport.get_write_buffer_size():
            self._taking = self.loop.call_later(TAKING_TIMEOUT, self.transport.abort)

    def waiting_since(self) -> float:
        """Return since when all that is waited for here is the caller, infinity if it is not so."""
        if self.transport.is_closing() and self._taking is None:
            return math.inf
        if self._taking is not None:
            return self._taking.when() - TAKING_TIMEOUT
        if self.timeout_keep_alive_task is not None:
            return self.timeout_keep_alive_task.when() - self.timeout_keep_alive
        if self._timer is not None and self._may_answer():
            return self._timed_since
        return math.inf

    def hang_up(self) -> None:
        """Do at once what is done when the caller's time is over."""
        if self._taking is not None:
            self.transport.abort()
        elif self._timer is not None:
            self._too_slow()
        else:
            self.transport.close()

    def _is_upgrade(self) -> bool:
        # So is CONNECT, to the parser; what it asks for is no path of ours, and refused as such.
        return self.parser.should_upgrade() and self.parser.get_method() != b"CONNECT"

    def _without_upgrade(self) -> bytes:
        """Write the head that was read once more, without the wish for another protocol."""
        line = b"%s %s HTTP/%s" % (
            self.parser.get_method(),
            self.url,
            self.parser.get_http_version().encode("ascii"),
        )
        headers = [b"%s: %s" % header for header in self.headers if header[0] != b"upgrade"]
        return b"\r\n".join([line, *headers, b"", b""])

    def _renew_parser(self) -> None:
        self.parser = httptools.HttpRequestParser(self)
        self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's

    def _may_answer(self) -> bool:
        """Whether what is said now would be read as the answer to the request that is refused, and no other's."""
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if self.pipeline:
            return False
        if cycle is None:
            return True
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
        assert self._most is not None
        if scope["path"] in ALWAYS_ANSWERED or len(self.connections) <= self._most:
            await self.config.loaded_app(scope, receive, send)
            return
        refused = await render(
            Request(scope),
            Unavailable(
                "the service",
                detail=f"there are more than {self._most} connections",
                told=self._shedding.is_due(),
            ),
        )
        refused.headers["Connection"] = "close"
        await refused(scope, receive, send)

    def _start_timer(self, seconds: float) -> None:
        self._timed_since = self.loop.time()
        self._timer = self.loop.call_later(seconds, self._too_slow)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _too_slow(self) -> None:
        self._stop_timer()
        self._refuse(408, "the request did not come in time")


def _complete(scope: object) -> None:
    cast("dict[str, object]", scope)[COMPLETED] = time.monotonic()
