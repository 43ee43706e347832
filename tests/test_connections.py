"""What comes before a request's body is bounded, in size and in time."""

import asyncio
import socket
from contextlib import suppress
from http.client import HTTPResponse
from urllib.parse import urlsplit

import httpx2
import pytest
import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.server import ServerState

from service import protocol
from service.protocol import MAX_PIPELINED, BoundedProtocol
from tests.support.deployment import Deployment, Server
from tests.support.processes import resident

MIB = 1 << 20


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def answer_to_flood(server: Server, beginning: bytes, piece: bytes, amount: int) -> bytes:
    """Send without end until the server hangs up; return what it said."""
    with connect(server) as connection:
        connection.sendall(beginning)
        block = piece * (MIB // len(piece) + 1)
        try:
            for _ in range(amount // MIB):
                connection.sendall(block)
        except (ConnectionResetError, BrokenPipeError):
            pass
        else:
            pytest.fail("all of it was read")
        try:
            return connection.recv(65536)
        except ConnectionResetError:
            return b""


@pytest.mark.parametrize(
    ("beginning", "piece"),
    [
        (b"GET / HTTP/1.1\r\nHost: localhost\r\n", b"a:b\r\n"),
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nLong: ", b"a"),
        (b"GET /", b"a"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nLong: ", b"a"),
        (b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n1;long=", b"a"),
    ],
    ids=["many headers", "one long header", "a long path", "a trailer", "a chunk's extension"],
)
def test_what_is_sent_without_end_is_cut_off_before_it_takes_memory(
    deployment: Deployment, beginning: bytes, piece: bytes
) -> None:
    with deployment.serving(workers=1) as server:
        before = resident(server.process.pid)
        for _ in range(3):
            answer_to_flood(server, beginning, piece, 64 * MIB)

        assert resident(server.process.pid) - before < 24 * MIB
        assert httpx2.get(f"{server.url}/healthz", timeout=30).status_code == 200


def test_a_head_that_is_too_large_is_told_so(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\nLong: " + b"a" * 80_000)

        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 431 Request Header Fields Too Large\r\n")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize(
    ("sent", "refusal"),
    [
        (b"GET / HTTP/1.1\r\n" + b"a:b\r\n" * 200, b"HTTP/1.1 431 "),
        (
            b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\na\r\n" * 5_000,
            b"HTTP/1.1 413 ",
        ),
    ],
    ids=["headers", "chunks"],
)
def test_what_comes_in_too_many_small_pieces_is_refused(server: Server, sent: bytes, refusal: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(sent)

        assert connection.recv(65536).startswith(refusal)


def test_who_sends_requests_by_the_thousand_and_reads_no_answer_is_hung_up_on(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2_000)
        answers = b""
        with suppress(ConnectionResetError):
            answers = all_from(connection)

    assert answers.count(b"HTTP/1.1 200 OK") <= MAX_PIPELINED + 1


def test_an_ordinary_large_head_is_read(http: httpx2.Client) -> None:
    assert http.get("/healthz", headers={"x-large": "a" * 30_000}).status_code == 200


def test_bytes_that_are_no_http_are_refused_as_a_problem(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"\x16\x03\x01 this is TLS\r\n\r\n")

        answer = connection.recv(65536)

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"application/problem+json" in answer


@pytest.mark.parametrize("sent", [b"", b"GET /healthz HTTP/1.1\r\nHost: loc"], ids=["nothing", "half a head"])
def test_a_connection_that_sends_no_request_in_time_is_closed(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(sent)

        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert connection.recv(65536) == b""


def test_requests_sent_one_behind_the_other_are_all_answered(server: Server) -> None:
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(server) as connection:
        connection.sendall(request * 4 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
        answers = b""
        while received := connection.recv(65536):
            answers += received

    assert answers.count(b"HTTP/1.1 200 OK") == 5


HEALTHZ_AND_CLOSE = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def all_from(connection: socket.socket) -> bytes:
    answers = b""
    while received := connection.recv(65536):
        answers += received
    return answers


@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "in two"])
@pytest.mark.parametrize("other", [b"h2c", b"websocket"])
def test_a_body_is_no_request_even_if_its_sender_wishes_for_another_protocol(
    server: Server, other: bytes, *, together: bool
) -> None:
    body = b"grant_type=GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n"
    if not together:
        body = body.removeprefix(b"grant_type=")
    head = (
        b"POST /token HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: " + other + b"\r\n"
        b"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: %d\r\n\r\n" % len(body)
    )
    with connect(server) as connection:
        connection.sendall(head + body if together else head)
        if not together:
            connection.settimeout(0.3)
            with pytest.raises(TimeoutError):  # it waits for the body
                connection.recv(1)
            connection.settimeout(30)
            connection.sendall(body)
        connection.sendall(HEALTHZ_AND_CLOSE)
        answers = all_from(connection)

    assert answers.count(b"HTTP/1.1 ") == 2
    assert answers.startswith(b"HTTP/1.1 400 ")
    assert (b"control character" in answers) == together
    assert answers.endswith(b'{"status":"ok"}')


def test_a_wish_for_another_protocol_on_a_connection_to_be_closed_is_answered(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(
            b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close, Upgrade\r\nUpgrade: h2c\r\n\r\n"
        )
        answer = all_from(connection)

    assert answer.startswith(b"HTTP/1.1 200 ")


def test_what_comes_behind_a_body_is_no_header(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(
            b"GET /me HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
            b"0\r\nAuthorization: Bearer abc\r\nX-Request-Id: from-a-trailer\r\n\r\n" + HEALTHZ_AND_CLOSE
        )
        answers = all_from(connection)

    assert answers.startswith(b"HTTP/1.1 401 ")
    assert b"from-a-trailer" not in answers
    assert b'error="' not in answers  # it has seen no token
    assert answers.endswith(b'{"status":"ok"}')


@pytest.mark.anyio
@pytest.mark.parametrize("closing", [b"", b"Connection: close\r\n"], ids=["kept alive", "closed"])
async def test_who_takes_no_answer_holds_no_connection(
    monkeypatch: pytest.MonkeyPatch, closing: bytes
) -> None:
    monkeypatch.setattr(protocol, "TAKING_TIMEOUT", 0.2)
    listening, state = await answering(Response(b"a" * 16 * MIB))
    loop = asyncio.get_running_loop()
    with socket.socket() as connection:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        connection.setblocking(False)
        await loop.sock_connect(connection, listening.sockets[0].getsockname())
        await loop.sock_sendall(connection, b"GET / HTTP/1.1\r\nHost: x\r\n" + closing + b"\r\n")
        assert await loop.sock_recv(connection, 12) == b"HTTP/1.1 200"
        assert len(state.connections) == 1

        async with asyncio.timeout(20):
            while state.connections:  # noqa: ASYNC110  # the server has no event for it
                await asyncio.sleep(0.01)
    listening.close()


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("head", "more"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\r\n"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"abcd"),
        (b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 4\r\n\r\n", b"a"),
    ],
    ids=["a line break", "a body that nobody waited for", "a part of one"],
)
async def test_what_is_no_request_keeps_no_connection(head: bytes, more: bytes) -> None:
    listening, state = await answering(Response(b"ok"), keep_alive=1)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    writer.write(head)
    assert await asyncio.wait_for(reader.read(12), 10) == b"HTTP/1.1 200"
    writer.write(more)

    await asyncio.wait_for(reader.read(), 5)  # until it is closed

    (alive,) = state.connections or (None,)
    assert alive is None
    writer.close()
    listening.close()


@pytest.mark.anyio
async def test_a_request_that_began_before_the_answer_to_the_last_one_is_no_idle_connection() -> None:
    answer = asyncio.Event()

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/first":
            await answer.wait()
        await Response(b"ok")(scope, receive, send)

    listening, _ = await answering(app, keep_alive=1)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    writer.write(b"GET /first HTTP/1.1\r\nHost: x\r\n\r\nGET /second HTTP/1.1\r\nHo")
    await asyncio.sleep(0.1)
    answer.set()
    await asyncio.sleep(1.5)
    writer.write(b"st: x\r\nConnection: close\r\n\r\n")
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    listening.close()

    assert said.count(b"HTTP/1.1 200 ") == 2


async def answering(app: ASGIApp, keep_alive: int = 5) -> tuple[asyncio.Server, ServerState]:
    config = uvicorn.Config(app, ws="none", log_config=None, timeout_keep_alive=keep_alive)
    state = ServerState()
    config.load()
    listening = await asyncio.get_running_loop().create_server(
        lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0
    )
    return listening, state


@pytest.mark.anyio
@pytest.mark.parametrize("value", [b"a\r\nSet-Cookie: b=c", b"a\nSet-Cookie: b=c", b"a\rSet-Cookie: b=c"])
async def test_a_header_with_a_line_break_in_it_is_never_written(value: bytes) -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        headers = [(b"content-length", b"2"), (b"x-told", value)]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    listening, _ = await answering(app)
    reader, writer = await asyncio.open_connection(*listening.sockets[0].getsockname())
    writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    said = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    listening.close()

    assert said.startswith(b"HTTP/1.1 500 ") or said == b""
    assert b"Set-Cookie" not in said


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("request_", "headers", "pieces"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [(b"content-length", b"4")], [b"abcd"]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [(b"content-length", b"4")], [b"ab", b"cd"]),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [], [b"abcd"]),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", [(b"content-length", b"4")], [b"abcd"]),
        (b"GET / HTTP/1.0\r\n\r\n", [(b"content-length", b"4")], [b"abcd"]),
        (
            b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
            [(b"content-length", b"4"), (b"connection", b"close")],
            [b"abcd"],
        ),
    ],
    ids=[
        "whole",
        "in pieces",
        "of no told length",
        "on a connection to be closed",
        "HTTP/1.0",
        "the app closes",
    ],
)
async def test_an_answer_says_the_same_however_it_is_written(
    request_: bytes, headers: list[tuple[bytes, bytes]], pieces: list[bytes]
) -> None:
    async def app(_: Scope, __: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        for place, piece in enumerate(pieces, 1):
            await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces)})

    listening, _ = await answering(app)
    with socket.socket() as connection:
        connection.settimeout(10)
        await asyncio.to_thread(connection.connect, listening.sockets[0].getsockname())
        connection.sendall(request_)
        answer = HTTPResponse(connection)
        await asyncio.to_thread(answer.begin)
        assert await asyncio.to_thread(answer.read) == b"abcd"
    listening.close()
