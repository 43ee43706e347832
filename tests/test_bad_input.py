"""Whatever is sent: a 4xx in the shape of the endpoint's own standard, and no secret comes back or into the log."""

import json
import socket
from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import httpx2
import pytest

from service.http import FORM, JSON
from tests.support.actors import PASSWORD, Actors
from tests.support.client import SERVICE_AUTH, Api, bearer
from tests.support.deployment import Server
from tests.support.refusals import (
    LogTail,
    assert_bearer_error,
    assert_invalid_client,
    assert_no_echo,
    assert_not_stored,
    assert_oauth_error,
    assert_problem,
)

HUSH = "hush-3f9c0b7e51d2"
"""Stands in for every secret that is sent here."""

OAUTH = ("/token", "/refresh", "/revoke", "/introspect")
BEARER = (
    ("GET", "/me"),
    ("POST", "/me/password"),
    ("GET", "/sessions"),
    ("DELETE", "/sessions/3f2504e0-4f89-41d3-9a0c-0305e82c3301"),
    ("POST", "/logout"),
    ("POST", "/logout/all"),
)
OPEN = (
    ("GET", "/healthz"),
    ("GET", "/readyz"),
    ("GET", "/.well-known/jwks.json"),
    ("GET", "/.well-known/oauth-authorization-server"),
    ("GET", "/.well-known/openid-configuration"),
)
MEBIBYTE = 1024 * 1024
FULL = f"grant_type=password&username={HUSH}&password={HUSH}&token={HUSH}&refresh_token={HUSH}&client_secret={HUSH}"


@pytest.fixture(autouse=True)
def nothing_leaks(server: Server) -> Iterator[None]:
    tail = LogTail(server.log)
    yield
    tail.assert_clean(HUSH)


def form(body: bytes) -> bytes:
    return FULL.encode() + b"&client_id=demo-app&" + body


OAUTH_BODIES = {
    "a wrong content type": ("text/plain", form(b""), 415),
    "no content type": (None, form(b""), 415),
    "a malformed content type": (";;=", form(b""), 415),
    "a multipart form": ("multipart/form-data; boundary=x", b"--x\r\n" + form(b""), 415),
    "a body that is absent": (FORM, b"", 400),
    "nothing but separators": (FORM, b"&&&==&", 400),
    "a parameter that stands twice": (FORM, form(b"client_id=demo-app"), 400),
    "a secret that stands twice": (FORM, form(f"password={HUSH}&refresh_token={HUSH}&token=1".encode()), 400),
    "one MiB of junk": (FORM, HUSH.encode() * (MEBIBYTE // len(HUSH)), 413),
    "one byte more than 64 KiB": (FORM, form(b"x=").ljust(64 * 1024 + 1, b"x"), 413),
    "bytes that are no UTF-8": (FORM, form(b"x=\xff\xfe"), 400),
    "percent-encoding that is no UTF-8": (FORM, form(b"x=%ff%fe"), 400),
    "a lone surrogate": (FORM, form(b"x=%ed%a0%80"), 400),
    "a NUL byte": (FORM, form(b"x=a\0b"), 400),
    "a percent-encoded NUL": (FORM, form(b"x=a%00b"), 400),
    "a line break": (FORM, form(b"x=a%0d%0ab"), 400),
    "a thousand fields": (FORM, form(b"&".join(b"x%d=1" % i for i in range(1000))), 400),
    "JSON that says it is a form": (FORM, json.dumps({"token": HUSH}).encode(), 400),
    "UTF-16": (FORM, FULL.encode("utf-16"), 400),
    "gzip": (FORM, b"\x1f\x8b\x08\x00" + bytes(20), 400),
}
JSON_BODIES = {
    "a form that says it is JSON": FULL.encode(),
    "nothing": b"",
    "white space": b" \n ",
    "deep arrays": b"[" * 60_000,
    "deep objects": b'{"a":' * 10_000,
    "deep and closed": b'{"a":' + b"[" * 30_000 + b"]" * 30_000 + b"}",
    "an array": json.dumps([HUSH]).encode(),
    "a string": json.dumps(HUSH).encode(),
    "null": b"null",
    "a number of many digits": b'{"refresh_token": ' + b"9" * 60_000 + b"}",
    "a member named twice": f'{{"refresh_token": "{HUSH}", "refresh_token": "{HUSH}"}}'.encode(),
    "a lone surrogate": b'{"refresh_token": "\\ud800", "new_password": "\\ud800"}',
    "a NUL": b'{"refresh_token": "a\\u0000", "new_password": "\\u0000"}',
    "a number": b'{"refresh_token": 1, "current_password": 1}',
    "an object": json.dumps({"refresh_token": {"a": HUSH}}).encode(),
    "an array of tokens": json.dumps({"refresh_token": [HUSH], "new_password": [HUSH]}).encode(),
    "a boolean": b'{"refresh_token": true, "new_password": false}',
    "NaN": b'{"refresh_token": NaN, "new_password": Infinity}',
    "bytes that are no UTF-8": b'{"refresh_token": "\xff"}',
    "UTF-16": json.dumps({"refresh_token": HUSH}).encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"refresh_token": "a"}',
    "junk after it": b'{"refresh_token": "a"} x',
}


@pytest.mark.parametrize("case", OAUTH_BODIES)
@pytest.mark.parametrize("path", OAUTH)
def test_an_oauth_endpoint_refuses(http: httpx2.Client, path: str, case: str) -> None:
    content_type, body, status = OAUTH_BODIES[case]
    headers = {} if content_type is None else {"Content-Type": content_type}

    answer = http.post(path, content=body, headers=headers, auth=SERVICE_AUTH)

    assert_oauth_error(answer, "invalid_request", status)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize("case", JSON_BODIES)
def test_refresh_refuses_as_json(http: httpx2.Client, case: str) -> None:
    answer = http.post("/refresh", content=JSON_BODIES[case], headers={"Content-Type": JSON})

    assert_oauth_error(answer)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize("case", JSON_BODIES)
def test_the_change_of_a_password_refuses_as_json(api: Api, case: str) -> None:
    headers = bearer(api.sign_in().access) | {"Content-Type": JSON}

    answer = api.http.post("/me/password", content=JSON_BODIES[case], headers=headers)

    assert_problem(answer, 400)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize(
    ("content_type", "body", "status"),
    [
        (FORM, f"current_password={HUSH}&new_password={HUSH}".encode(), 415),
        ("text/plain", HUSH.encode(), 415),
        (JSON, json.dumps({"new_password": HUSH * 10_000}).encode(), 413),
        (JSON, json.dumps({"current_password": HUSH}).encode(), 400),
        (JSON, json.dumps({"new_password": HUSH}).encode(), 400),
        (JSON, json.dumps({"current_password": HUSH, "new_password": ""}).encode(), 400),
        (JSON, json.dumps({"current_password": HUSH, "new_password": HUSH * 100}).encode(), 400),
    ],
)
def test_the_change_of_a_password_refuses(api: Api, content_type: str, body: bytes, status: int) -> None:
    headers = bearer(api.sign_in().access) | {"Content-Type": content_type}

    answer = api.http.post("/me/password", content=body, headers=headers)

    assert_problem(answer, status)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize("path", ["/token", "/revoke", "/introspect"])
def test_json_where_a_form_belongs_is_refused(http: httpx2.Client, path: str) -> None:
    answer = http.post(path, json={"token": HUSH, "client_secret": HUSH})

    assert_oauth_error(answer, "invalid_request", 415)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize("path", [*OAUTH, "/me/password"])
def test_junk_without_a_length_is_cut_off(api: Api, path: str) -> None:
    def chunks() -> Iterator[bytes]:
        for _ in range(64):
            yield b"j" * (MEBIBYTE // 64)

    headers = {"Content-Type": FORM}
    if path == "/me/password":
        headers = bearer(api.sign_in().access) | {"Content-Type": JSON}

    answer = api.http.post(path, content=chunks(), headers=headers)

    if path == "/me/password":
        assert_problem(answer, 413)
    else:
        assert_oauth_error(answer, "invalid_request", 413)


@pytest.mark.parametrize("grant_type", ["magic", "PASSWORD", "password ", "implicit", HUSH])
def test_a_grant_that_nobody_knows_is_told_as_such(http: httpx2.Client, grant_type: str) -> None:
    answer = http.post("/token", data={"grant_type": grant_type, "client_id": "demo-app"})

    assert_oauth_error(answer, "unsupported_grant_type")
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize(
    ("path", "data", "missing"),
    [
        ("/token", {"x": "y"}, "grant_type"),
        ("/token", {"grant_type": "password", "password": HUSH}, "username"),
        ("/token", {"grant_type": "password", "username": HUSH}, "password"),
        ("/token", {"grant_type": "password", "username": "alice", "password": ""}, "password"),
        ("/token", {"grant_type": "refresh_token"}, "refresh_token"),
        ("/refresh", {}, "refresh_token"),
        ("/refresh", {"refresh_token": ""}, "refresh_token"),
        ("/revoke", {}, "token"),
        ("/introspect", {}, "token"),
    ],
)
def test_the_parameter_that_is_missing_is_named(
    http: httpx2.Client, path: str, data: dict[str, str], missing: str
) -> None:
    answer = http.post(path, data={"x": "y", **data}, auth=SERVICE_AUTH)

    assert_oauth_error(answer)
    assert f"parameter {missing} " in answer.json()["error_description"]
    assert_no_echo(answer, HUSH)


def test_the_short_form_of_refreshing_takes_no_other_grant(http: httpx2.Client) -> None:
    answer = http.post("/refresh", data={"grant_type": "password", "username": "alice", "password": HUSH})

    assert_oauth_error(answer, "unsupported_grant_type")


@pytest.mark.parametrize(
    "field", ["username", "password", "scope", "resource", "client_id", "client_secret", "refresh_token"]
)
@pytest.mark.parametrize("value", [HUSH * 2500, "ﷺ" * 7000, "😀" * 5000, "é" + "\u0301" * 9000, "%" * 20000])
def test_a_very_long_value_is_refused_like_any_wrong_one(http: httpx2.Client, field: str, value: str) -> None:
    data = {"grant_type": "password", "client_id": "demo-app", "username": "alice", "password": "wonderland"}
    if field == "refresh_token":
        data["grant_type"] = field
    if field == "client_id":
        value = value.replace(HUSH, "name")  # not a secret: the log may tell it
    body = urlencode(data | {field: value})[:60_000]

    answer = http.post("/token", content=body, headers={"Content-Type": FORM})

    assert 400 <= answer.status_code < 500, answer.text
    assert set(answer.json()) == {"error", "error_description"}
    assert_not_stored(answer)
    assert_no_echo(answer, HUSH)


def test_what_a_form_holds_beside_is_ignored(http: httpx2.Client) -> None:
    # RFC 6749 3.2: unrecognized request parameters are ignored.
    data = {"grant_type": "password", "client_id": "demo-app", "username": "alice", "password": "wonderland"}

    answer = http.post("/token", data=data | {"nonce": "x", "": "y", "__proto__": "z"})

    assert answer.status_code == 200


def test_parameters_in_the_url_do_not_count(http: httpx2.Client) -> None:
    # RFC 6749 2.3.1: credentials must not be in the request URI.
    query = {"grant_type": "password", "client_id": "demo-app", "username": "alice", "password": "wonderland"}

    assert_oauth_error(http.post("/token", params=query, headers={"Content-Type": FORM}))
    assert_oauth_error(http.post("/token", params=query, data={"grant_type": "password", "username": "a"}))


@pytest.mark.parametrize(("right", "path"), [*(("POST", path) for path in OAUTH), *BEARER, *OPEN])
@pytest.mark.parametrize("method", ["GET", "HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE", "POST"])
def test_another_method_is_refused_and_told_the_right_one(
    http: httpx2.Client, method: str, right: str, path: str
) -> None:
    if method == right or (method == "HEAD" and right == "GET"):
        return  # what answers GET answers HEAD

    answer = http.request(method, path, headers={"Authorization": f"Bearer {HUSH}"})

    assert answer.status_code == 405
    assert answer.headers["allow"] == ("GET, HEAD" if right == "GET" else right)
    assert_not_stored(answer)
    if method == "HEAD":
        assert not answer.content
    elif path in OAUTH:
        assert_oauth_error(answer, "invalid_request", 405)
    else:
        assert_problem(answer, 405)


def test_a_path_of_several_methods_tells_all_of_them(welcoming: Server) -> None:
    answer = httpx2.put(f"{welcoming.url}/me")

    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD"


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/.well-known/jwks.json"])
def test_head_is_answered_as_get_without_the_body(http: httpx2.Client, path: str) -> None:
    head, get = http.head(path), http.get(path)

    assert (head.status_code, head.content) == (200, b"")
    assert head.headers["content-length"] == str(len(get.content))


AUTHORIZATIONS: dict[str, list[bytes]] = {
    "an empty one": [b""],
    "a scheme alone": [b"Basic"],
    "Basic garbage": [b"Basic " + HUSH.encode() + b"!!"],
    "Basic of no colon": [b"Basic aHVzaA=="],
    "Basic of an empty name": [b"Basic OnNlY3JldA=="],
    "Basic of bytes that are no UTF-8": [b"Basic //46//4="],
    "Basic of percent-encoding that is no UTF-8": [b"Basic JUZGOiVGRg=="],
    "Basic of a NUL": [b"Basic YQBiOmMAZA=="],
    "Basic of a percent-encoded NUL": [b"Basic YSUwMDpi"],
    "Basic twice": [b"Basic ZGVtby1zZXJ2aWNlOmRlbW8tc2VydmljZS1zZWNyZXQ="] * 2,
    "Bearer twice": [b"Bearer " + HUSH.encode()] * 2,
    "Basic and Bearer": [
        b"Basic ZGVtby1zZXJ2aWNlOmRlbW8tc2VydmljZS1zZWNyZXQ=",
        b"Bearer " + HUSH.encode(),
    ],
    "bytes beyond ASCII": [b"Basic \xff\xfe\xe9"],
    "Bearer bytes beyond ASCII": [b"Bearer \xc3\xa9.\xc3\xa9.\xc3\xa9"],
    "another scheme": [b"Digest username=" + HUSH.encode()],
    "no scheme": [HUSH.encode()],
    "an enormous one": [b"Basic " + b"QUFB" * 12_000],
    "an enormous Bearer": [b"Bearer " + b"a" * 48_000],
    "three dots": [b"Bearer ..."],
    "Bearer with spaces": [b"Bearer   a b c"],
    "a hundred of them": [b"Bearer " + HUSH.encode()] * 100,
}


@pytest.mark.parametrize("case", AUTHORIZATIONS)
@pytest.mark.parametrize("path", OAUTH)
def test_strange_credentials_prove_no_client(http: httpx2.Client, path: str, case: str) -> None:
    headers = [(b"Authorization", value) for value in AUTHORIZATIONS[case]]
    data = {"token": HUSH, "refresh_token": HUSH}
    if path == "/token":
        data["grant_type"] = "client_credentials"

    answer = http.post(path, data=data, headers=headers)

    assert_invalid_client(answer)
    assert_no_echo(answer, HUSH)


@pytest.mark.parametrize("case", AUTHORIZATIONS)
@pytest.mark.parametrize(("method", "path"), BEARER)
def test_strange_credentials_are_nobodys(http: httpx2.Client, method: str, path: str, case: str) -> None:
    values = AUTHORIZATIONS[case]

    answer = http.request(method, path, headers=[(b"Authorization", value) for value in values])

    assert_bearer_error(answer, told=values[0].startswith(b"Bearer "))
    assert_no_echo(answer, HUSH)


def test_a_second_authorization_header_spoils_a_right_one(api: Api) -> None:
    right = f"Bearer {api.sign_in().access}".encode()

    for values in ([right, b"Bearer x"], [b"Bearer x", right], [right, right]):
        answer = api.http.get("/me", headers=[(b"Authorization", value) for value in values])
        assert answer.status_code == 401


@pytest.mark.parametrize(("method", "path"), BEARER)
def test_an_endpoint_of_the_account_asks_for_a_token(http: httpx2.Client, method: str, path: str) -> None:
    assert_bearer_error(http.request(method, path), told=False)
    assert_bearer_error(http.request(method, path, params={"access_token": HUSH}), told=False)
    assert_bearer_error(http.request(method, path, auth=SERVICE_AUTH), told=False)


@pytest.mark.parametrize(
    "sid",
    [
        "x",
        "%00",
        "%0d%0aSet-Cookie:%20a=b",
        "..%2f..%2fme",
        "../me/../sessions/x",
        "%2e%2e",
        "null",
        "0",
        "'%20OR%201=1--",
        "%ff%fe",
        "%F0%9F%98%80",
        "00000000-0000-0000-0000-000000000000",
        "00000000-0000-0000-0000-00000000000g",
        "a" * 20_000,
        HUSH,
    ],
)
def test_a_session_that_is_not_there_is_not_found(api: Api, sid: str) -> None:
    answer = api.http.delete(f"/sessions/{sid}", headers=bearer(api.sign_in().access))

    assert_problem(answer, 404)
    assert_no_echo(answer, HUSH)


def test_a_token_in_a_path_is_not_logged(http: httpx2.Client, server: Server) -> None:
    tail = LogTail(server.log)

    http.delete(f"/sessions/{HUSH}%0aforged%1b[31m", headers=bearer("not.a.token"))

    assert "the access token is not valid" in tail.text
    assert "method=DELETE route=/sessions/{sid}" in tail.text
    assert "forged" not in tail.text


@pytest.mark.parametrize(
    "path",
    [
        "/nowhere",
        "/token/",
        "/me/",
        "/sessions/",
        "//token",
        "/TOKEN",
        "/%2e%2e/etc/passwd",
        "/keys/ring.json",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_there_is_nothing_at_any_other_path(http: httpx2.Client, method: str, path: str) -> None:
    # A redirect from /token/ would send the secrets on to whatever host the request named.
    answer = http.request(method, path, headers={"Host": "evil.example"})

    assert_problem(answer, 404)
    assert "location" not in answer.headers


RAW = {
    "no HTTP at all": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
    "a length that is no number": b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: abc\r\n\r\n",
    "two lengths": b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": (
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a path beyond ASCII": b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
    "a header with a NUL": b"GET /me HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer a\0b\r\n\r\n",
    "a host that is none": b"GET /me HTTP/1.1\r\nHost: [\r\nConnection: close\r\n\r\n",
    "a host with a path": b"GET /me HTTP/1.1\r\nHost: a/token?b\r\nConnection: close\r\n\r\n",
    "no host": b"GET /me HTTP/1.0\r\n\r\n",
    "an upgrade": (
        b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\n"
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ),
    "thousands of headers": (
        b"GET /me HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        + b"".join(b"X-%d: 1\r\n" % i for i in range(5000))
        + b"\r\n"
    ),
    "the asterisk": b"OPTIONS * HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("case", RAW)
def test_bytes_that_no_client_sends_get_a_4xx_too(server: Server, case: str) -> None:
    answer = exchange(server, RAW[case])

    assert answer.startswith(b"HTTP/1.1 4"), answer
    assert b"Traceback" not in answer


def test_a_body_that_ends_early_harms_nobody(server: Server, http: httpx2.Client) -> None:
    tail = LogTail(server.log)
    with connected(server) as connection:
        connection.sendall(
            f"POST /token HTTP/1.1\r\nHost: x\r\nContent-Type: {FORM}\r\nContent-Length: 5000\r\n\r\n{FULL}".encode()
        )

    assert http.get("/healthz").status_code == 200
    tail.assert_clean(HUSH)


def test_a_strange_user_agent_is_no_obstacle(api: Api, actors: Actors) -> None:
    user = actors.user()
    agent = b"\xc3\xa9\xff\x80 ' \"; DROP TABLE sessions" * 100
    data = {
        "grant_type": "password",
        "client_id": "demo-app",
        "username": user.username,
        "password": PASSWORD,
    }

    answer = api.http.post("/token", data=data, headers=[(b"User-Agent", agent)])

    assert answer.status_code == 200
    listed = api.http.get("/sessions", headers=bearer(answer.json()["access_token"])).json()["sessions"]
    assert len(listed[0]["user_agent"]) == 256


def connected(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=10)


def exchange(server: Server, sent: bytes) -> bytes:
    """Send bytes and return all that comes back until the other side closes."""
    with connected(server) as connection:
        connection.sendall(sent)
        received = b""
        while chunk := connection.recv(65536):
            received += chunk
        return received
