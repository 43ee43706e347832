import asyncio
import base64
import gzip
import json
import threading
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sealwright import Algorithm, Expectations, Key, KeySet
from sealwright.testing import Issuer
from sealwright.testing import issuer as issuer  # noqa: PLC0414  # the fixtures, as their users have them
from sealwright.testing import issuer_key as issuer_key  # noqa: PLC0414

ISSUER = "https://auth.example.com"
AUDIENCE = "https://orders.example.com"
NOW = 1_800_000_000

Claim = dict[str, object]
Sign = Callable[..., str]


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@pytest.fixture(scope="session")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def ec_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def ed_key() -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def pss_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture(scope="session")
def key_of(
    rsa_key: rsa.RSAPrivateKey,
    pss_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    ed_key: ed25519.Ed25519PrivateKey,
) -> dict[Algorithm, Key]:
    return {
        "RS256": Key.from_public_key(rsa_key.public_key(), "RS256"),
        "PS256": Key.from_public_key(pss_key.public_key(), "PS256"),
        "ES256": Key.from_public_key(ec_key.public_key(), "ES256"),
        "EdDSA": Key.from_public_key(ed_key.public_key(), "EdDSA"),
    }


@pytest.fixture(scope="session")
def keys(key_of: Mapping[Algorithm, Key]) -> KeySet:
    return KeySet(key_of.values())


@pytest.fixture(scope="session")
def signature_of(
    rsa_key: rsa.RSAPrivateKey,
    pss_key: rsa.RSAPrivateKey,
    ec_key: ec.EllipticCurvePrivateKey,
    ed_key: ed25519.Ed25519PrivateKey,
) -> Callable[[Algorithm, bytes], bytes]:
    def signature(alg: Algorithm, message: bytes) -> bytes:
        match alg:
            case "RS256":
                return rsa_key.sign(message, padding.PKCS1v15(), SHA256())
            case "PS256":
                return pss_key.sign(message, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
            case "ES256":
                r, s = decode_dss_signature(ec_key.sign(message, ec.ECDSA(SHA256())))
                return r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case "EdDSA":
                return ed_key.sign(message)

    return signature


@pytest.fixture(scope="session")
def sign(key_of: Mapping[Algorithm, Key], signature_of: Callable[[Algorithm, bytes], bytes]) -> Sign:
    """Sign anything, however wrong: `header` and `payload` as objects, or as the very bytes or segments."""

    def segment(value: object) -> str:
        if isinstance(value, str):
            return value
        return base64url(value if isinstance(value, bytes) else json.dumps(value).encode())

    def signed(
        payload: object, *, by: Algorithm = "RS256", header: object = None, **parameters: object
    ) -> str:
        if header is None:
            header = {"alg": by, "typ": "at+jwt", "kid": key_of[by].kid, **parameters}
        message = f"{segment(header)}.{segment(payload)}"
        return f"{message}.{base64url(signature_of(by, message.encode()))}"

    return signed


@pytest.fixture
def payload() -> Claim:
    return {
        "iss": ISSUER,
        "sub": "usr_1",
        "client_id": "web",
        "aud": AUDIENCE,
        "iat": NOW,
        "exp": NOW + 900,
        "jti": "jti-1",
    }


@pytest.fixture
def expect() -> Expectations:
    return Expectations(issuer=ISSUER, audience=AUDIENCE)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


class Served:
    """An issuer behind a real socket, which can be closed and opened again on the same port."""

    def __init__(self, key: rsa.RSAPrivateKey | None, algorithm: Algorithm = "RS256") -> None:
        self.answers: dict[str, tuple[int, bytes]] = {}
        """What is answered on a path instead of what the issuer would."""
        self.lose_answers = 0
        """How many answers are still to be lost on their way."""
        self._server = self._listen(0)
        self.port = self._server.server_address[1]
        self.issuer = Issuer(f"http://127.0.0.1:{self.port}", AUDIENCE, algorithm=algorithm, private_key=key)
        self._start()

    def _listen(self, port: int) -> ThreadingHTTPServer:
        return _Server(("127.0.0.1", port), partial(_Handler, self))

    def _start(self) -> None:
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self.open = True
        self._thread.start()

    def stop(self) -> None:
        self.open = False
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def start(self) -> None:
        self._server = self._listen(self.port)
        self._start()

    def settings(self, **more: Any) -> dict[str, Any]:
        """What a Verifier over the network is made with."""
        made = self.issuer
        return {
            "issuer": made.url,
            "audience": AUDIENCE,
            "client_id": made.client_id,
            "client_secret": made.client_secret,
            "clock": made.clock,
            **more,
        }


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    allow_reuse_address = True
    request_queue_size = 128


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 0.1  # so that idle connections do not hold up the end

    def __init__(self, served: Served, *connection: Any) -> None:
        self._served = served
        super().__init__(*connection)

    def do_GET(self) -> None:
        issuer = self._served.issuer
        wait = float(dict(parse_qsl(self.path.partition("?")[2])).get("wait", "0"))
        until = time.monotonic() + wait
        while time.monotonic() < until and self._served.open and not issuer.has_news(self.path):
            time.sleep(0.005)
        if not self._served.open:
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, cache, answer = issuer.reply(
            self.command, self.path, {k.lower(): v for k, v in self.headers.items()}, body
        )
        status, answer = self._served.answers.get(self.path.partition("?")[0], (status, answer))
        if self._served.lose_answers:
            self._served.lose_answers -= 1
            self.close_connection = True
            return
        if "gzip" in self.headers.get("Accept-Encoding", ""):
            answer = gzip.compress(answer)
        self.send_response(status)
        for name, value in {
            "Content-Type": "application/json",
            "Content-Encoding": "gzip",
            "Cache-Control": cache,
            "Content-Length": str(len(answer)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815  # the standard library's name

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def served(issuer_key: rsa.RSAPrivateKey) -> Iterator[Served]:
    made = Served(issuer_key)
    yield made
    if made.open:
        made.stop()


@pytest.fixture
def served_with_small_keys() -> Iterator[Served]:
    """The same with keys that are made in no time."""
    made = Served(None, "EdDSA")
    yield made
    made.stop()


@pytest.fixture
def until() -> Callable[..., Awaitable[None]]:
    """Look again and again, with a bound, until it is true."""

    async def wait(true: Callable[[], bool], what: str, within: float = 20) -> None:
        deadline = time.monotonic() + within
        while not true():
            assert time.monotonic() < deadline, f"not within {within} s: {what}"
            await asyncio.sleep(0.005)

    return wait
