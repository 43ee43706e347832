"""Requests that were right until something happened to their bytes: no crash, and nobody else's answer."""

import json
import socket
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.client import SERVICE_AUTH, Api, bearer
from tests.support.deployment import Server

STEP = 0.05
"""Seconds after which a service that says nothing is taken to wait for more of the request."""

AT = st.floats(0, 1, exclude_max=True)
WORDS = (
    *(
        b"\r\n",
        b"\r",
        b"\n",
        b"\0",
        b" ",
        b":",
        b"%",
        b"%00",
        b"%ff",
        b"&",
        b"=",
        b'"',
        b"{",
        b"[",
        b"..",
        b"\xff",
    ),
    *(b"Content-Length: 1\r\n", b"Transfer-Encoding: chunked\r\n", b"Expect: 100-continue\r\n", b"0\r\n\r\n"),
)
PIECE = st.binary(max_size=12) | st.sampled_from(WORDS)
CHANGES = st.lists(st.tuples(AT, st.integers(0, 12), PIECE), min_size=1, max_size=4)
"""Where, how many bytes are taken out, and what stands there instead."""


def whole(line: str, *headers: str, body: str = "") -> bytes:
    length = [f"Content-Length: {len(body)}"] if body else []
    return "\r\n".join([line, "Host: localhost:8000", *headers, *length, "", body]).encode()


def form(path: str, body: str, *headers: str) -> bytes:
    return whole(
        f"POST {path} HTTP/1.1", "Content-Type: application/x-www-form-urlencoded", *headers, body=body
    )


@pytest.fixture(scope="module")
def requests(server: Server) -> tuple[bytes, ...]:
    with httpx2.Client(base_url=server.url, timeout=60) as http:
        session = Api(http).sign_in()
    client_id, secret = SERVICE_AUTH
    access, who = bearer(session.access)["Authorization"], f"client_id={client_id}&client_secret={secret}"
    return (
        form("/token", f"grant_type=client_credentials&{who}&scope=orders:read"),
        form("/token", "grant_type=password&client_id=demo-app&username=nobody&password=nothing"),
        form("/introspect", f"token={session.access}&{who}"),
        form("/revoke", "token=abc&client_id=demo-app"),
        whole(
            "POST /refresh HTTP/1.1",
            "Content-Type: application/json",
            body=json.dumps({"refresh_token": "a.b.c", "client_id": "demo-app"}),
        ),
        whole("GET /me HTTP/1.1", f"Authorization: {access}"),
        whole("GET /revocations?after=0.1&wait=0 HTTP/1.1", "Authorization: Basic YTpi"),
        whole("GET /.well-known/jwks.json HTTP/1.1", 'If-None-Match: W/"a", "b"'),
        whole(
            "OPTIONS /token HTTP/1.1", "Origin: https://example.com", "Access-Control-Request-Method: POST"
        ),
        whole("GET /healthz HTTP/1.1", "X-Forwarded-For: 10.0.0.1", "X-Request-Id: abcdefgh"),
    )


@given(which=st.integers(0, 9), changes=CHANGES)
def test_a_request_of_which_any_bytes_were_changed_is_answered_without_a_fault(
    server: Server, requests: tuple[bytes, ...], which: int, changes: list[tuple[float, int, bytes]]
) -> None:
    sent = requests[which]
    for where, taken, put in changes:
        at = int(where * len(sent))
        sent = sent[:at] + put + sent[at + taken :]

    for status, body in answers(server, sent):
        assert status < 500, (status, sent, body)


def test_each_of_them_is_answered_as_long_as_nothing_is_changed(
    server: Server, requests: tuple[bytes, ...]
) -> None:
    for sent in requests:
        assert [status for status, _ in answers(server, sent, within=1)], sent


def answers(server: Server, sent: bytes, within: float = STEP) -> Iterator[tuple[int, bytes]]:
    """Everything that is said to these bytes within so many seconds, each answer in whole."""
    address = urlsplit(server.url)
    with closing(socket.create_connection((address.hostname, address.port), timeout=30)) as connection:
        connection.sendall(sent)
        connection.settimeout(within)
        said = bytearray()
        try:
            while received := connection.recv(65536):
                said += received
        except (TimeoutError, ConnectionResetError):
            pass
    while said:
        head, ended, rest = bytes(said).partition(b"\r\n\r\n")
        assert ended, said
        lines = head.split(b"\r\n")
        assert lines[0].startswith(b"HTTP/1.1 "), said
        length = next((int(line[15:]) for line in lines if line.lower().startswith(b"content-length:")), 0)
        yield int(lines[0][9:12]), rest[:length]
        said = bytearray(rest[length:])
