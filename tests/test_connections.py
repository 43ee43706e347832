"""What comes before a request's body is bounded, in size and in time."""

import asyncio
import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
import uvicorn
from starlette.responses import Response
from uvicorn.server import ServerState

from service import protocol
from service.protocol import BoundedProtocol
from tests.support.deployment import Deployment, Server

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


def resident(pid: int) -> int:
    """Bytes of a process's memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096


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
    config = uvicorn.Config(Response(b"a" * 16 * MIB), ws="none", log_config=None)
    state, loop = ServerState(), asyncio.get_running_loop()
    listening = await loop.create_server(lambda: BoundedProtocol(config, state, {}), "127.0.0.1", 0)
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
