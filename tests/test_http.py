"""What holds for every answer: its headers, who is believed about the address, and how much is served at once."""

import base64
import json
import select
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import httpx2
import pytest

from service.protocol import MAX_BUSY
from tests.support.client import SERVICE_AUTH, Api, bearer
from tests.support.deployment import Deployment, Server
from tests.support.processes import eventually
from tests.test_connections import connect

HEALTHZ = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
LOGOUT = b"POST /logout HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"

MOST = 4
"""Connections that `small` takes at once."""


@pytest.fixture(scope="module")
def production(deployment: Deployment) -> Iterator[Server]:
    """A worker as it runs behind a proxy."""
    behind_proxy = deployment.having(
        environment="production", issuer="https://auth.example.com", trusted_proxies="127.0.0.0/8,::1"
    )
    with behind_proxy.serving(workers=1) as server:
        yield server


@pytest.fixture(scope="module")
def small(deployment: Deployment) -> Iterator[Server]:
    with deployment.having(max_connections=str(MOST)).serving(workers=1) as server:
        yield server


SECURITY = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "content-security-policy": "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "strict-transport-security": "max-age=31536000",
}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/.well-known/jwks.json", 200),
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("HEAD", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("POST", "/token", 415),
        ("GET", "/me", 401),
        ("GET", "/token", 405),
        ("GET", "/nowhere", 404),
    ],
)
def test_every_answer_has_the_security_headers_once(
    production: Server, method: str, path: str, status: int
) -> None:
    answer = httpx2.request(method, production.url + path, timeout=20)

    assert answer.status_code == status
    for name, value in SECURITY.items():
        assert answer.headers.get_list(name) == [value]
    assert "server" not in answer.headers


@pytest.mark.parametrize("sent", [b"junk\r\n\r\n", b"GET / HTTP/1.1\r\nLong: " + b"a" * 80_000])
def test_what_never_becomes_a_request_is_answered_with_them_too(production: Server, sent: bytes) -> None:
    with connect(production) as connection:
        connection.sendall(sent)
        head = connection.recv(65536).lower()

    for name, value in SECURITY.items():
        assert f"{name}: {value}\r\n".encode() in head


def test_without_https_nothing_is_said_of_https_and_docs_may_load_its_page(http: httpx2.Client) -> None:
    answer = http.get("/docs")

    assert "strict-transport-security" not in answer.headers
    policy = answer.headers["content-security-policy"]
    assert "script-src 'unsafe-inline' https:" in policy
    assert "frame-ancestors 'none'" in policy


def address_of_a_sign_in(server: Server, **headers: str) -> str:
    with httpx2.Client(base_url=server.url, timeout=20, headers=headers) as http:
        api = Api(http)
        session = api.sign_in()
        sessions = http.get("/sessions", headers=bearer(session.access)).json()["sessions"]
    [current] = [each for each in sessions if each["current"]]
    address: str = current["address"]
    return address


def test_behind_a_trusted_proxy_a_session_shows_its_clients_address(production: Server) -> None:
    assert address_of_a_sign_in(production, **{"X-Forwarded-For": "8.8.8.8, 203.0.113.7"}) == "203.0.113.7"
    assert address_of_a_sign_in(production, Forwarded="for=203.0.113.7") == "127.0.0.1"


def test_without_one_a_session_shows_who_connected(server: Server) -> None:
    headers = {"X-Forwarded-For": "203.0.113.7", "Forwarded": "for=203.0.113.7", "X-Real-IP": "203.0.113.7"}

    assert address_of_a_sign_in(server, **headers) == "127.0.0.1"


def test_no_header_makes_another_issuer_of_it(production: Server) -> None:
    headers = {"X-Forwarded-Proto": "http", "X-Forwarded-Host": "evil.example", "Host": "evil.example"}

    said = httpx2.get(f"{production.url}/.well-known/oauth-authorization-server", headers=headers, timeout=20)

    assert "evil" not in said.text
    assert said.json()["token_endpoint"] == "https://auth.example.com/token"


@pytest.mark.parametrize(
    "sent",
    [
        b"Content-Length: 1000\r\n\r\ngrant_type=",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
    ],
    ids=["with a length", "chunked"],
)
def test_a_body_that_does_not_come_to_its_end_in_time_is_given_up(server: Server, sent: bytes) -> None:
    with connect(server) as connection:
        connection.sendall(
            b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-www-form-urlencoded\r\n" + sent
        )

        assert connection.recv(65536).startswith(b"HTTP/1.1 408 ")
        assert connection.recv(65536) == b""


def test_a_body_that_nobody_reads_holds_no_connection(server: Server) -> None:
    with connect(server) as connection:
        connection.sendall(b"POST /nowhere HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n")

        answer = until_closed(connection)

    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.count(b"HTTP/1.1 ") == 1  # a second one would be taken for the next request's


@contextmanager
def full(small: Server) -> Iterator[tuple[ExitStack, list[socket.socket]]]:
    """Have as many requests under way as there may be connections: listeners that wait for revocations."""
    credentials = base64.b64encode(":".join(SERVICE_AUTH).encode())
    listener = b"GET /revocations%s HTTP/1.1\r\nHost: x\r\nAuthorization: Basic " + credentials + b"\r\n\r\n"
    with ExitStack() as held:
        connections = [held.enter_context(connect(small)) for _ in range(MOST)]
        for connection in connections:
            _, _, body = said(connection, listener % b"").partition(b"\r\n\r\n")
            cursor = quote(json.loads(body)["cursor"]).encode()
            connection.sendall(listener % (b"?wait=20&after=" + cursor))
        yield held, connections


def test_beyond_its_connections_a_worker_asks_for_patience_and_the_first_are_served(
    small: Server, api: Api
) -> None:
    with full(small) as (held, first):
        beyond = held.enter_context(connect(small))

        beyond.sendall(LOGOUT)
        refused = until_closed(beyond)

        assert refused.startswith(b"HTTP/1.1 503 ")
        assert b"retry-after: 1\r\n" in refused
        assert b"connection: close\r\n" in refused.lower()
        assert said(held.enter_context(connect(small)), HEALTHZ).startswith(b"HTTP/1.1 200 ")
        api.revoke(api.sign_in().access)  # which is what they listen for
        assert all(answer(connection).startswith(b"HTTP/1.1 200 ") for connection in first)


def test_far_beyond_its_connections_a_worker_hangs_up_at_once(small: Server) -> None:
    with full(small) as (held, _):
        busy = [held.enter_context(connect(small)) for _ in range(MAX_BUSY)]
        beyond = held.enter_context(connect(small))
        assert until_closed(beyond) == b""

        # Those that say nothing have a moment only, and then it answers again.
        assert all(until_closed(connection).startswith(b"HTTP/1.1 408 ") for connection in busy)
        assert said(held.enter_context(connect(small)), HEALTHZ).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    ("sent", "last_word"),
    [(HEALTHZ, b""), (HEALTHZ[:30], b"HTTP/1.1 408 "), (b"", b"HTTP/1.1 408 ")],
    ids=["idle", "slow", "silent"],
)
def test_who_keeps_a_connection_for_nothing_has_to_leave_it_to_others(
    small: Server, sent: bytes, last_word: bytes
) -> None:
    with ExitStack() as held:
        waiting = [held.enter_context(connect(small)) for _ in range(MOST)]
        for connection in waiting:
            connection.sendall(sent)
            if sent == HEALTHZ:
                answer(connection)
        served = []

        def another_is_served() -> bool:
            connection = held.enter_context(connect(small))
            connection.sendall(LOGOUT)
            served.append(answer(connection))
            return served[-1].startswith(b"HTTP/1.1 401 ")

        eventually(another_is_served, within=5)  # before any of them has used up its time
        [left, *_], _, _ = select.select(waiting, [], [], 5)
        assert until_closed(left).startswith(last_word)


def said(connection: socket.socket, request: bytes) -> bytes:
    """Send a request; the answer to it, whole, so that the next is read from its beginning."""
    connection.sendall(request)
    return answer(connection)


def answer(connection: socket.socket) -> bytes:
    """The next answer, whole."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, received
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    [length] = [int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    while len(body) < length:
        body += connection.recv(65536)
    return head + b"\r\n\r\n" + body


def until_closed(connection: socket.socket) -> bytes:
    """All that comes until the server closes the connection."""
    answer = b""
    while received := connection.recv(65536):
        answer += received
    return answer
