"""An answer that comes in one piece is written in one piece."""

from starlette.types import Message
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, RequestResponseCycle
from uvicorn.server import ServerState

Headers = list[tuple[bytes, bytes]]

_OTHERWISE = frozenset({b"connection", b"transfer-encoding"})
_WITHOUT_BODY = frozenset({204, 304})


class Common:
    """The headers that every answer on a connection carries, as they are written."""

    def __init__(self, state: ServerState) -> None:
        self._state = state
        self._headers: Headers | None = None
        self._written = b""

    def written(self) -> bytes:
        """Return them; made again only when the server has others: each second, for the date."""
        headers = self._state.default_headers
        if headers is not self._headers:
            self._headers = headers
            self._written = b"".join(b"%s: %s\r\n" % header for header in headers)
        return self._written


class Answer:
    """The `send` of one request.

    uvicorn looks at each header of each answer with two expressions, which costs more than all else in an answer
    made of bytes. What is anything but whole, of a known length, is left to it.
    """

    __slots__ = ("_common", "_cycle", "_start")

    def __init__(self, cycle: RequestResponseCycle, common: Common) -> None:
        self._cycle = cycle
        self._common = common
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        """Send, the start together with what follows it."""
        if message["type"] == "http.response.start" and self._start is None:
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if self._write(start, message):
                return
            await self._cycle.send(start)  # type: ignore[arg-type]  # uvicorn's own word for the same
        await self._cycle.send(message)  # type: ignore[arg-type]

    def _write(self, start: Message, message: Message) -> bool:
        cycle = self._cycle
        if (
            cycle.disconnected
            or cycle.response_started
            or cycle.flow.write_paused
            or not cycle.keep_alive
            or message.get("more_body", False)
            or start["status"] in _WITHOUT_BODY
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        body: bytes = message.get("body", b"")
        headers: Headers = start["headers"]
        length = None
        lines = [STATUS_LINE[start["status"]], self._common.written()]
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name in _OTHERWISE:
                return False
            lines.append(b"%s: %s\r\n" % (name, value))
        own = b"".join(lines[2:])
        # A line break in a value would end it, and begin what whoever sent it chose (RFC 9110 5.5).
        if (
            length != b"%d" % len(body)
            or own.count(b"\n") != len(headers)
            or own.count(b"\r") != len(headers)
        ):
            return False
        lines += (b"\r\n", body)
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(lines))
        cycle.message_event.set()
        cycle.on_response()
        return True
