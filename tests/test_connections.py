"""What comes before a request's body is bounded, in size and in time."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest

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
    ],
    ids=["many headers", "one long header", "a long path"],
)
def test_a_head_without_end_is_cut_off_before_it_takes_memory(
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
