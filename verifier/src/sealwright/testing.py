"""An issuer inside the test's process: no server, no network, and time goes where the test says.

Name it in the `conftest.py` at the root of the tests, `pytest_plugins = ["sealwright.testing"]`, and take the
fixture `issuer`:

    async def test_reads(issuer):
        async with issuer.verifier() as verifier:
            claims = await verifier.authenticate(issuer.token(scope="orders:read"))
            issuer.revoke(sub=claims.sub)
"""

import asyncio
import base64
import json
import re
import secrets
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sealwright._encoding import base64url_decode, base64url_encode
from sealwright._errors import InvalidToken
from sealwright._keys import Algorithm, Key, KeySet
from sealwright._revocations import Revocations, read_answer
from sealwright._verifier import Options, Verifier
from sealwright._verify import Expectations, verify

__all__ = ["Clock", "Issuer", "issuer", "issuer_key"]

_GRACE = 30.0  # seconds
_LOOK = 0.005  # seconds between two looks of a waiting poll
_WAIT = re.compile(r"([0-5]?[0-9])(\.[0-9]{1,3})?|60")  # as narrow as the service


class Clock:
    """The time that the issuer and its verifiers go by: the real one, moved forward by the test."""

    def __init__(self) -> None:
        self._ahead = 0.0

    def __call__(self) -> float:
        """Return the seconds since 1970."""
        return time.time() + self._ahead

    def move(self, seconds: float) -> None:
        """Move it on."""
        if seconds < 0:
            raise ValueError("time goes forward")
        self._ahead += seconds


@dataclass(frozen=True, slots=True)
class _SigningKey:
    public: Key
    private: Any

    @classmethod
    def new(cls, algorithm: Algorithm, private: Any = None) -> "_SigningKey":
        if private is not None:
            return cls(Key.from_public_key(private.public_key(), algorithm), private)
        match algorithm:
            case "EdDSA":
                private = ed25519.Ed25519PrivateKey.generate()
            case "ES256":
                private = ec.generate_private_key(ec.SECP256R1())
            case "RS256" | "PS256":
                private = rsa.generate_private_key(65537, 2048)
        return cls(Key.from_public_key(private.public_key(), algorithm), private)

    def sign(self, message: bytes) -> bytes:
        signature: bytes
        match self.public.alg:
            case "EdDSA":
                signature = self.private.sign(message)
            case "ES256":
                r, s = decode_dss_signature(self.private.sign(message, ec.ECDSA(SHA256())))
                signature = r.to_bytes(32, "big") + s.to_bytes(32, "big")
            case "RS256":
                signature = self.private.sign(message, padding.PKCS1v15(), SHA256())
            case "PS256":
                signature = self.private.sign(message, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())
        return signature


@dataclass(slots=True)
class _Exchange:
    """When a refresh token was exchanged, and for what."""

    at: float | None = None
    successor: str | None = None


class Issuer:
    """Speaks what a resource service needs of Sealwright: metadata, keys, revocations, introspection, tokens.

    Verifiers that it made hear of a change at once; others, by `transport`, as they would over a network.
    `private_key` is its first key, if making one for each test takes too long.
    """

    def __init__(
        self,
        url: str = "https://auth.example.com",
        audience: str = "https://service.example.com",
        *,
        algorithm: Algorithm = "RS256",
        private_key: rsa.RSAPrivateKey | None = None,
    ) -> None:
        self.url = url
        self.audience = audience
        self.clock = Clock()
        self.client_id, self.client_secret = "resource", secrets.token_urlsafe(16)
        self.requests: Counter[str] = Counter()
        """How often each path was asked for."""
        self.behind = 0.0
        """How many seconds ago the issuer saw its record, as its feed says."""
        self._algorithm: Algorithm = algorithm
        self._keys = [_SigningKey.new(algorithm, private_key)]
        self._timeline = secrets.token_hex(4)
        self._record: list[dict[str, object]] = []
        self._reachable = True
        self._verifiers: list[Verifier] = []
        self._sessions: dict[str, _Exchange] = {}

    # What a test does

    def verifier(self, **settings: Any) -> Verifier:
        """Make a Verifier for this issuer, by its clock; `settings` are `Verifier`'s own."""
        made = Verifier(
            self.url,
            **{
                "audience": self.audience,
                "client_id": self.client_id,
                "client_secret": self.client_secret,
                "transport": self.transport,
                "clock": self.clock,
                "options": Options(algorithms=(self._algorithm,), key_pause=0.01),
                **settings,
            },
        )
        self._verifiers.append(made)
        return made

    def token(
        self, *, lifetime: float = 900, header: Mapping[str, object] | None = None, **claims: Any
    ) -> str:
        """Mint an access token; claims are added or replaced, those given as None left out.

        `scope` may be a string or several, as `("orders:read", "orders:write")`.
        """
        now = int(self.clock())
        payload: dict[str, object] = {
            "iss": self.url,
            "sub": "usr_1",
            "client_id": "app",
            "aud": self.audience,
            "iat": now,
            "exp": now + int(lifetime),
            "jti": secrets.token_urlsafe(12),
            "sid": "ses_1",
            "uep": 0,
            "cep": 0,
            **claims,
        }
        if not isinstance(payload.get("scope", ""), str | None):
            payload["scope"] = " ".join(claims["scope"])
        return self._signed(
            {k: v for k, v in payload.items() if v is not None}, {"typ": "at+jwt", **(header or {})}
        )

    def rotate(self, *, keep: int = 1) -> str:
        """Sign with a new key from now on, publishing `keep` of those before; return the new kid."""
        self._keys = [_SigningKey.new(self._algorithm), *self._keys[:keep]]
        return self.kid

    @property
    def kid(self) -> str:
        """The key that signs now."""
        return self._keys[0].public.kid

    def revoke(
        self, token: str | None = None, *, epoch: int | None = None, lifetime: float = 900, **subject: str
    ) -> None:
        """Take back a token, or all of a `jti`, `sid`, `sub`, `client_id` or `kid`; with `epoch`, only those below."""
        if token is not None:
            subject["jti"] = json.loads(base64url_decode(token.split(".")[1].encode()) or b"")["jti"]
        [(kind, name)] = subject.items()
        entry: dict[str, object] = {kind: name, "exp": int(self.clock() + lifetime), "reason": "revoked"}
        if kind in {"sub", "client_id"}:
            entry["epoch"] = epoch
        self._record.append(entry)
        self._tell()

    def refresh_token(self) -> str:
        """Start a session, for `TokenSource`."""
        made = secrets.token_urlsafe(24)
        self._sessions[made] = _Exchange()
        return made

    @contextmanager
    def down(self) -> Iterator[None]:
        """Be unreachable until the end of the block."""
        self._reachable = False
        try:
            yield
        finally:
            self._reachable = True
            self._tell()

    def move_clock(self, seconds: float) -> None:
        """Let so many seconds go by."""
        self.clock.move(seconds)
        self._tell()

    # What a service asks

    @property
    def transport(self) -> httpx2.AsyncBaseTransport:
        """For `Verifier(transport=…)` and `TokenSource(transport=…)`: asks this issuer instead of the network."""
        return httpx2.MockTransport(self._handle)

    def reply(
        self, method: str, target: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, str, bytes]:
        """Answer a request: status, Cache-Control, JSON."""
        path, _, query = target.partition("?")
        self.requests[path] += 1
        form = dict(parse_qsl(body.decode()))
        status, cache = 200, "no-store"
        answer: dict[str, object]
        match method, path:
            case "GET", "/.well-known/oauth-authorization-server":
                answer = {
                    "issuer": self.url,
                    "jwks_uri": f"{self.url}/.well-known/jwks.json",
                    "token_endpoint": f"{self.url}/token",
                    "introspection_endpoint": f"{self.url}/introspect",
                    "revocation_feed": f"{self.url}/revocations",
                }
            case "GET", "/.well-known/jwks.json":
                cache, answer = "max-age=300", {"keys": [key.public.to_jwk() for key in self._keys]}
            case "GET" | "POST", "/revocations" | "/introspect" | "/token" if not self._knows(headers, form):
                status, answer = 401, {"error": "invalid_client"}
            case "GET", "/revocations" if not _WAIT.fullmatch(_member(query, "wait", "0")):
                status, answer = 400, {"title": "Bad Request", "detail": "wait is a number of seconds"}
            case "GET", "/revocations":
                answer = self._feed(_member(query, "after"))
            case "POST", "/introspect":
                answer = {"active": self._active(form.get("token", ""))}
            case "POST", "/token":
                status, answer = self._granted(form)
            case _:
                status, answer = 404, {"title": "Not Found"}
        return status, cache, json.dumps(answer).encode()

    def has_news(self, target: str) -> bool:
        """Whether a request of the feed would be answered at once, without waiting."""
        return _member(target.partition("?")[2], "after") != self._cursor

    # How

    async def _handle(self, request: httpx2.Request) -> httpx2.Response:
        if self._is_down():
            raise httpx2.ConnectError("the issuer is down")
        target = request.url.raw_path.decode()
        if request.url.path == "/revocations":
            until = time.monotonic() + float(request.url.params.get("wait", "0"))
            # Changes come from any thread, and this loop may be one of several: looking is simplest.
            while time.monotonic() < until and not self.has_news(target):
                await asyncio.sleep(_LOOK)
                if self._is_down():
                    raise httpx2.ReadError("the issuer went down")
        status, cache, body = self.reply(request.method, target, request.headers, request.content)
        return httpx2.Response(
            status, content=body, headers={"Content-Type": "application/json", "Cache-Control": cache}
        )

    def _is_down(self) -> bool:
        return not self._reachable

    def _tell(self) -> None:
        if self._is_down():
            return
        for verifier in self._verifiers:
            feed = verifier._feed  # noqa: SLF001  # so that a test need not wait for the next poll
            if feed is not None:
                feed.take(read_answer(json.dumps(self._feed("")).encode(), self.url))

    @property
    def _cursor(self) -> str:
        return f"{self._timeline}.{len(self._record)}"

    def _feed(self, after: str) -> dict[str, object]:
        timeline, _, number = after.partition(".")
        known = timeline == self._timeline and number.isdecimal()
        now = self.clock()
        return {
            "issuer": self.url,
            "snapshot": not known,
            "cursor": self._cursor,
            "seen_at": now - self.behind,
            "now": now,
            "revocations": self._record[int(number) if known else 0 :],
        }

    def _knows(self, headers: Mapping[str, str], form: Mapping[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scheme.lower() != "basic":
            client = form.get("client_id"), form.get("client_secret")
        else:
            name, _, secret = base64.b64decode(given).decode().partition(":")
            client = unquote_plus(name), unquote_plus(secret)
        return client == (self.client_id, self.client_secret)

    def _active(self, token: str) -> bool:
        expect = Expectations(issuer=self.url, audience=None, algorithms=(self._algorithm,))
        try:
            claims = verify(token, KeySet(key.public for key in self._keys), expect, now=self.clock())
        except InvalidToken:
            return False
        held = Revocations()
        held.put(read_answer(json.dumps(self._feed("")).encode(), self.url).revocations)
        return not held.kill(claims)

    def _granted(self, form: Mapping[str, str]) -> tuple[int, dict[str, object]]:
        scope = form.get("scope", "")
        answer: dict[str, object] = {"token_type": "Bearer", "expires_in": 900, "scope": scope}
        match form.get("grant_type"):
            case "client_credentials":
                claims: dict[str, Any] = {"sub": self.client_id, "sid": None, "uep": None}
            case "refresh_token":
                successor = self._exchanged(form.get("refresh_token", ""))
                if successor is None:
                    return 400, {"error": "invalid_grant"}
                claims, answer["refresh_token"] = {}, successor
            case _:
                return 400, {"error": "unsupported_grant_type"}
        audience = form.get("resource", self.audience)
        answer["access_token"] = self.token(client_id=self.client_id, aud=audience, scope=scope, **claims)
        return 200, answer

    def _exchanged(self, refresh_token: str) -> str | None:
        exchanged = self._sessions.get(refresh_token)
        if exchanged is None:
            return None
        now = self.clock()
        if exchanged.at is None:
            exchanged.at, exchanged.successor = now, self.refresh_token()
        # A lost answer: the same successor again, for a while.
        return exchanged.successor if now - exchanged.at <= _GRACE else None

    def _signed(self, payload: Mapping[str, object], header: Mapping[str, object]) -> str:
        key = self._keys[0]
        parts = {"alg": key.public.alg, "kid": key.public.kid, **header}, payload
        message = ".".join(base64url_encode(json.dumps(part).encode()) for part in parts)
        return f"{message}.{base64url_encode(key.sign(message.encode()))}"


def _member(query: str, name: str, default: str = "") -> str:
    return dict(parse_qsl(query)).get(name, default)


@pytest.fixture(scope="session")
def issuer_key() -> rsa.RSAPrivateKey:
    """Make the key that the issuers of all tests begin with; one for all, because it takes a while."""
    return rsa.generate_private_key(65537, 2048)


@pytest.fixture
def issuer(issuer_key: rsa.RSAPrivateKey) -> Issuer:
    """Make an issuer of the test's own."""
    return Issuer(private_key=issuer_key)
