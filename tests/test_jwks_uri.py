"""Keys that a client publishes: fetched from a real HTTPS server, and from nowhere inside our own network."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler
from typing import Any, cast

import httpx2
import pytest

from sealwright import KeySet
from service.clients import keys as client_keys
from service.clients.addresses import allowed
from service.clients.directory import Client
from service.clients.fetching import MAX_DOCUMENT, Fetcher, NotFetched
from service.clients.keys import ClientKeys
from service.settings import SettingsError
from tests.support.actors import Actors
from tests.support.assertions import Signer, jwks, proof
from tests.support.client import tokens
from tests.support.deployment import Deployment
from tests.support.https import Answer, Https, document, serving
from tests.support.refusals import assert_invalid_client

pytestmark = pytest.mark.anyio

FIRST, SECOND = Signer(), Signer()


@pytest.fixture(scope="module")
def https(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Https]:
    with serving(tmp_path_factory.mktemp("https")) as server:
        yield server


@pytest.fixture(autouse=True)
def trusted(https: Https, monkeypatch: pytest.MonkeyPatch) -> None:
    """As an operator trusts another CA: by OpenSSL's own variable."""
    monkeypatch.setenv("SSL_CERT_FILE", str(https.ca))


@pytest.fixture
def fetcher() -> Fetcher:
    return Fetcher(loopback=True)


@pytest.mark.parametrize(
    "address",
    [
        "0.0.0.0",
        "10.0.0.1",
        "100.64.0.1",
        "100.100.100.200",
        "127.0.0.1",
        "127.255.255.254",
        "168.63.129.16",
        "169.254.169.254",
        "172.16.0.1",
        "172.31.255.255",
        "192.0.0.8",
        "192.0.2.1",
        "192.88.99.1",
        "192.168.1.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "224.0.0.1",
        "239.255.255.250",
        "240.0.0.1",
        "255.255.255.255",
        "::",
        "::1",
        "::127.0.0.1",
        "::ffff:10.0.0.1",
        "::ffff:8.8.8.8",
        "64:ff9b::7f00:1",
        "64:ff9b::808:808",
        "64:ff9b:1::a00:1",
        "100::1",
        "2001::1",
        "2001:db8::1",
        "2002:7f00:1::1",
        "3fff::1",
        "fc00::1",
        "fd00:ec2::254",
        "fe80::1",
        "fe80::1%1",
        "fec0::1",
        "ff02::1",
    ],
)
def test_an_address_inside_is_not_gone_to(address: str) -> None:
    assert not allowed(address, loopback=False)


@pytest.mark.parametrize("address", ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111"])
def test_an_address_of_the_internet_is(address: str) -> None:
    assert allowed(address, loopback=False)


def test_development_may_go_to_this_machine_and_no_further() -> None:
    assert allowed("127.0.0.1", loopback=True)
    assert allowed("::1", loopback=True)
    assert not allowed("10.0.0.1", loopback=True)
    assert not allowed("169.254.169.254", loopback=True)


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ],
)
async def test_however_this_machine_is_written_nothing_connects_to_it(https: Https, host: str) -> None:
    before = https.connections

    with pytest.raises(NotFetched):
        await Fetcher(loopback=False).fetch(https.url("/keys", host))

    assert https.connections == before


class Names:
    """A name server's answers, one after the other, the last for ever. The system's own cannot be made to lie."""

    def __init__(self, *answers: list[str]) -> None:
        self.answers = list(answers)
        self.asked = 0

    async def __call__(self, _: str, port: int, **__: object) -> list[tuple[Any, ...]]:
        self.asked += 1
        addresses = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in addresses]


def telling(monkeypatch: pytest.MonkeyPatch, *answers: list[str]) -> Names:
    names = Names(*answers)
    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", names, raising=False)
    return names


async def test_one_address_inside_among_others_is_enough_to_refuse_a_name(
    https: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    telling(monkeypatch, ["8.8.8.8", "127.0.0.1"])
    before = https.connections

    with pytest.raises(NotFetched, match="not public"):
        await Fetcher(loopback=False).fetch(https.url("/keys", "keys.test"))

    assert https.connections == before


async def test_the_connection_goes_to_the_address_that_was_checked_and_the_certificate_is_the_names(
    https: Https, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    https.publish("/keys", b"{}")
    names = telling(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])

    assert await fetcher.fetch(https.url("/keys", "keys.test")) == b"{}"
    assert names.asked == 1

    telling(monkeypatch, ["127.0.0.1"])
    with pytest.raises(NotFetched, match="ConnectError"):
        await fetcher.fetch(https.url("/keys", "other.test"))


def slowly(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    gone = threading.Event()
    try:
        while not gone.wait(0.1):
            request.wfile.write(b" ")
            request.wfile.flush()
    except OSError:
        pass


def without_end(request: BaseHTTPRequestHandler) -> None:
    request.send_response(200)
    request.end_headers()
    try:
        while True:
            request.wfile.write(b" " * 65536)
    except OSError:
        pass


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (document(b"", 404), "status 404"),
        (document(b"", 302, Location="https://localhost/keys"), "status 302"),
        (document(b"", 204), "status 204"),
        (document(gzip.compress(b" " * 10_000_000), Content_Encoding="gzip"), "compressed"),
        (document(b" " * (MAX_DOCUMENT + 1)), "more than 64 KiB"),
        (without_end, "more than 64 KiB"),
    ],
    ids=["404", "redirect", "empty", "bomb", "large", "without end"],
)
async def test_an_answer_that_is_no_document_is_none(
    https: Https, fetcher: Fetcher, answer: Answer, why: str
) -> None:
    https.answers["/odd"] = answer

    with pytest.raises(NotFetched, match=why):
        await fetcher.fetch(https.url("/odd"))


async def test_a_slow_answer_is_given_up(
    https: Https, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("service.clients.fetching.PATIENCE", 1.0)
    https.answers["/slow"] = slowly

    with pytest.raises(NotFetched, match="no answer within"):
        await fetcher.fetch(https.url("/slow"))


async def test_a_certificate_that_nobody_vouches_for_is_not_believed(
    https: Https, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    https.publish("/keys", b"{}")

    with pytest.raises(NotFetched, match="ConnectError"):
        await Fetcher(loopback=True).fetch(https.url("/keys"))


async def test_a_proxy_in_the_environment_is_not_used(
    https: Https, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    https.publish("/keys", b"{}")
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    assert await fetcher.fetch(https.url("/keys")) == b"{}"


@pytest.mark.parametrize(
    "url", ["http://localhost/keys", "ftp://localhost/", "file:///etc/passwd", "https://"]
)
async def test_only_https_is_spoken(fetcher: Fetcher, url: str) -> None:
    with pytest.raises(NotFetched):
        await fetcher.fetch(url)


class Published:
    """A client that publishes its keys, and how often it was asked for them."""

    def __init__(self, https: Https, fetcher: Fetcher, path: str) -> None:
        self._https, self._path = https, path
        self._found = ClientKeys(fetcher)

        class Named:
            id, jwks, jwks_uri = "billing", None, https.url(path)

        self._client = cast("Client", Named)

    def say(self, document: bytes) -> None:
        self._https.publish(self._path, document)

    def fail(self) -> None:
        del self._https.answers[self._path]

    async def keys(self, signer: Signer) -> KeySet:
        return await self._found.of(self._client, signer.key.kid)

    @property
    def asked(self) -> int:
        return self._https.asked.count(self._path)


@pytest.fixture
def published(https: Https, fetcher: Fetcher, request: pytest.FixtureRequest) -> Published:
    return Published(https, fetcher, f"/{request.node.name}")


async def test_any_number_who_ask_at_once_make_one_fetch(published: Published) -> None:
    published.say(jwks(FIRST).encode())

    found = await asyncio.gather(*(published.keys(FIRST) for _ in range(20)))

    assert all(FIRST.key.kid in keys for keys in found)
    assert published.asked == 1


async def test_an_unknown_kid_is_looked_for_again_but_not_within_the_cool_down(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.say(jwks(FIRST).encode())
    await published.keys(FIRST)
    published.say(jwks(FIRST, SECOND).encode())

    for _ in range(5):
        assert SECOND.key.kid not in await published.keys(SECOND)
    assert published.asked == 1
    monkeypatch.setattr(client_keys, "COOL_DOWN", 0.0)
    assert SECOND.key.kid in await published.keys(SECOND)
    assert published.asked == 2


async def test_a_failure_cools_down_too_and_the_last_good_keys_go_on(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.say(jwks(FIRST).encode())
    await published.keys(FIRST)
    published.fail()
    monkeypatch.setattr(client_keys, "KEPT", 0.0)
    monkeypatch.setattr(client_keys, "COOL_DOWN", 0.0)

    assert FIRST.key.kid in await published.keys(FIRST)
    assert published.asked == 2
    monkeypatch.setattr(client_keys, "COOL_DOWN", 60.0)
    for _ in range(5):
        assert FIRST.key.kid in await published.keys(FIRST)
    assert published.asked == 2
    monkeypatch.setattr(client_keys, "LAST_GOOD", 0.0)
    assert not await published.keys(FIRST)


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": 1}',
        b"[" * 10_000,
        b"\xff",
        b'{"keys": [{"kty": "oct", "kid": "a", "k": "eA"}]}',
    ],
)
async def test_a_document_that_is_no_jwks_gives_no_key(published: Published, document: bytes) -> None:
    published.say(document)

    assert not await published.keys(FIRST)


async def test_a_key_that_was_withdrawn_counts_no_longer_than_it_is_kept(
    published: Published, monkeypatch: pytest.MonkeyPatch
) -> None:
    published.say(jwks(FIRST, SECOND).encode())
    await published.keys(FIRST)
    published.say(jwks(SECOND).encode())
    monkeypatch.setattr(client_keys, "KEPT", 0.0)
    monkeypatch.setattr(client_keys, "COOL_DOWN", 0.0)

    assert FIRST.key.kid not in await published.keys(FIRST)


def test_a_client_proves_itself_by_the_keys_that_it_publishes(deployment: Deployment, https: Https) -> None:
    https.publish("/billing", jwks(FIRST).encode())
    own = deployment.having(jwks_uri_loopback="true")
    client = Actors(own).client(jwks_uri=https.url("/billing"))
    kept_inside = Actors(own).client(jwks_uri="https://10.0.0.1/keys")

    def ask(http: httpx2.Client, assertion: str) -> httpx2.Response:
        return http.post("/token", data={"grant_type": "client_credentials", **proof(assertion)})

    with (
        own.serving(workers=1) as server,
        httpx2.Client(base_url=server.url, timeout=20, verify=False) as http,
    ):
        assert tokens(ask(http, FIRST.assertion(client.id))).claims["client_id"] == client.id
        assert_invalid_client(ask(http, SECOND.assertion(client.id)))
        assert_invalid_client(ask(http, FIRST.assertion(kept_inside.id)))
        assert https.asked.count("/billing") == 1
        log = server.log.read_text()

    assert "the name leads to an address that is not public" in log
    assert "Traceback" not in log


def test_the_loopback_setting_is_refused_in_production(deployment: Deployment) -> None:
    production = deployment.having(
        environment="production", issuer="https://auth.example.com", jwks_uri_loopback="true"
    )

    with pytest.raises(SettingsError, match="SEALWRIGHT_JWKS_URI_LOOPBACK is for development"):
        _ = production.settings
