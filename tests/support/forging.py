"""Tokens that nobody may believe: what each lacks, by name, and the forge that makes them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sealwright import KeySet
from service import signing
from service.cli import demo
from service.signing import TokenType
from tests.support import ring
from tests.support.client import Tokens, claims
from tests.support.deployment import Deployment

Payload = dict[str, Any]


class Forge:
    """Makes tokens with the deployment's own key where a right signature is what the attacker lacks."""

    def __init__(self, deployment: Deployment) -> None:
        self.session = Tokens("", "", {})
        self._now = time.time()
        settings = deployment.settings
        self._ring = ring.load(
            settings.keys_dir, signing.Policy.of(settings), datetime.fromtimestamp(self._now, UTC)
        )
        self.kid = self._ring.active_kid(self._now)
        self.jwks = self._ring.jwks
        pem = (deployment.keys_dir / f"{self.kid}.pem").read_bytes()
        self._private = cast("RSAPrivateKey", load_pem_private_key(pem, None))

    @property
    def payload(self) -> Payload:
        """The claims of a live access token, but for its jti."""
        return self.session.claims | {"jti": str(uuid4())}

    @property
    def refresh_payload(self) -> Payload:
        """The claims of the live refresh token."""
        return claims(self.session.refresh)

    def genuine(self, payload: Payload, typ: TokenType = "at+jwt") -> str:
        """Sign with the real key; the header is the real one too."""
        return self._ring.sign(typ, json.dumps(payload).encode(), self._now)

    def with_header(self, payload: Payload, **header: object) -> str:
        """Sign with the real key under another header; what is None is left out."""
        members = {"alg": "RS256", "typ": "at+jwt", "kid": self.kid, **header}
        chosen = {name: value for name, value in members.items() if value is not None}
        signed = f"{encoded(chosen)}.{encoded(payload)}".encode()
        signature = self._private.sign(signed, PKCS1v15(), SHA256())
        return f"{signed.decode()}.{base64url(signature)}"

    def hs256(self, payload: Payload, secret: bytes) -> str:
        """Sign with a public key as the secret of an HMAC (RFC 8725 2.1)."""
        header = {"alg": "HS256", "typ": "at+jwt", "kid": self.kid}
        signed = f"{encoded(header)}.{encoded(payload)}"
        return f"{signed}.{base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    @property
    def public_pem(self) -> bytes:
        key = KeySet.from_jwks(self.jwks)[self.kid].public_key
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(value: object) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def without(payload: Payload, name: str) -> Payload:
    return {k: v for k, v in payload.items() if k != name}


def unsigned(f: Forge, alg: str, signature: str) -> str:
    return f"{encoded({'alg': alg, 'typ': 'at+jwt', 'kid': f.kid})}.{encoded(f.payload)}.{signature}"


def altered(f: Forge) -> str:
    header, _, signature = f.session.access.split(".")
    return f"{header}.{encoded(f.payload | {'roles': ['admin']})}.{signature}"


NOW = int(time.time())
JWK = {"kty": "oct", "k": "AAAA"}

ACCESS: dict[str, Callable[[Forge], str]] = {
    "alg none": lambda f: unsigned(f, "none", ""),
    "alg None": lambda f: unsigned(f, "None", ""),
    "alg none with a signature": lambda f: unsigned(f, "none", f.session.access.rpartition(".")[2]),
    "no signature": lambda f: f.session.access.rpartition(".")[0] + ".",
    "two segments": lambda f: f.session.access.rpartition(".")[0],
    "four segments": lambda f: f.session.access + ".e30",
    "altered claims": altered,
    "a signature that is padded": lambda f: f.session.access + "=",
    "HS256 under the public PEM": lambda f: f.hs256(f.payload, f.public_pem),
    "HS256 under the public PEM without its line end": lambda f: f.hs256(f.payload, f.public_pem.strip()),
    "HS256 under the JWKS": lambda f: f.hs256(f.payload, f.jwks),
    "HS256 under the JWK": lambda f: f.hs256(f.payload, json.dumps(json.loads(f.jwks)["keys"][0]).encode()),
    "HS256 under nothing": lambda f: f.hs256(f.payload, b""),
    "another algorithm of the same key": lambda f: f.with_header(f.payload, alg="PS256"),
    "a refresh token": lambda f: f.session.refresh,
    "a refresh token's typ": lambda f: f.genuine(f.payload, "rt+jwt"),
    "typ JWT": lambda f: f.with_header(f.payload, typ="JWT"),
    "no typ": lambda f: f.with_header(f.payload, typ=None),
    "another issuer": lambda f: f.genuine(f.payload | {"iss": "https://evil.example"}),
    "the issuer with a slash": lambda f: f.genuine(f.payload | {"iss": f.payload["iss"] + "/"}),
    "no issuer": lambda f: f.genuine(without(f.payload, "iss")),
    "no kid": lambda f: f.with_header(f.payload, kid=None),
    "an unknown kid": lambda f: f.with_header(f.payload, kid="x" * 43),
    "a kid that is a path": lambda f: f.with_header(f.payload, kid="../../../../etc/passwd"),
    "a kid that is a URL": lambda f: f.with_header(f.payload, kid="https://evil.example/key"),
    "a kid that is SQL": lambda f: f.with_header(f.payload, kid="' OR 1=1 --"),
    "a kid that is a number": lambda f: f.with_header(f.payload, kid=0),
    "jku": lambda f: f.with_header(f.payload, jku="https://evil.example/jwks.json"),
    "x5u": lambda f: f.with_header(f.payload, x5u="https://evil.example/cert.pem"),
    "x5c": lambda f: f.with_header(f.payload, x5c=["AAAA"]),
    "jwk": lambda f: f.with_header(f.payload, jwk=JWK),
    "crit": lambda f: f.with_header(f.payload, crit=["exp"]),
    "b64": lambda f: f.with_header(f.payload, b64=False),
    "expired": lambda f: f.genuine(f.payload | {"exp": NOW - 60}),
    "expired as a float": lambda f: f.genuine(f.payload | {"exp": NOW - 60.5}),
    "no end": lambda f: f.genuine(without(f.payload, "exp")),
    "an end that is text": lambda f: f.genuine(f.payload | {"exp": str(NOW + 600)}),
    "an endless end": lambda f: f.genuine(f.payload | {"exp": 10**400}),
    "not yet valid": lambda f: f.genuine(f.payload | {"nbf": NOW + 3600}),
    "issued tomorrow": lambda f: f.genuine(f.payload | {"iat": NOW + 86400}),
    "no jti": lambda f: f.genuine(without(f.payload, "jti")),
    "an empty jti": lambda f: f.genuine(f.payload | {"jti": ""}),
    "a jti with a NUL": lambda f: f.genuine(f.payload | {"jti": "a\0"}),
    "no sub": lambda f: f.genuine(without(f.payload, "sub")),
    "no client_id": lambda f: f.genuine(without(f.payload, "client_id")),
    "no aud": lambda f: f.genuine(without(f.payload, "aud")),
    "an epoch that is text": lambda f: f.genuine(f.payload | {"uep": "99"}),
    "enormous": lambda f: f.genuine(f.payload | {"pad": "x" * 40_000}),
    "junk": lambda _: "junk",
    "dots": lambda _: "...",
    "emptiness": lambda _: "e30.e30.",
    "beyond ASCII": lambda _: "é.é.é",
}
"""What is no access token, for anybody."""

REFRESH: dict[str, Callable[[Forge], str]] = {
    "an access token": lambda f: f.session.access,
    "an access token's typ": lambda f: f.genuine(f.refresh_payload),
    "alg none": lambda f: f"{encoded({'alg': 'none', 'typ': 'rt+jwt'})}.{encoded(f.refresh_payload)}.",
    "HS256": lambda f: f.hs256(f.refresh_payload, f.public_pem),
    "another issuer": lambda f: f.genuine(f.refresh_payload | {"iss": "https://evil.example"}, "rt+jwt"),
    "another audience": lambda f: f.genuine(f.refresh_payload | {"aud": demo.RESOURCE}, "rt+jwt"),
    "another client": lambda f: f.genuine(f.refresh_payload | {"client_id": "demo-service"}, "rt+jwt"),
    "a client that is not there": lambda f: f.genuine(f.refresh_payload | {"client_id": "nobody"}, "rt+jwt"),
    "expired": lambda f: f.genuine(f.refresh_payload | {"exp": NOW - 7200}, "rt+jwt"),
    "not yet valid": lambda f: f.genuine(f.refresh_payload | {"nbf": NOW + 7200}, "rt+jwt"),
    "no jti": lambda f: f.genuine(without(f.refresh_payload, "jti"), "rt+jwt"),
    "a jti that is no UUID": lambda f: f.genuine(f.refresh_payload | {"jti": "1"}, "rt+jwt"),
    "no sid": lambda f: f.genuine(without(f.refresh_payload, "sid"), "rt+jwt"),
    "a sid that is no UUID": lambda f: f.genuine(f.refresh_payload | {"sid": "../x"}, "rt+jwt"),
    "a session that is not there": lambda f: f.genuine(f.refresh_payload | {"sid": str(uuid4())}, "rt+jwt"),
    "an unknown kid": lambda f: f.with_header(f.refresh_payload, typ="rt+jwt", kid="../../etc/passwd"),
    "jku": lambda f: f.with_header(f.refresh_payload, typ="rt+jwt", jku="https://evil.example"),
    "enormous": lambda f: f.genuine(f.refresh_payload | {"pad": "x" * 40_000}, "rt+jwt"),
    "junk": lambda _: "junk",
}
