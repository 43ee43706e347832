import base64
import json
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sealwright import Algorithm, Expectations, Key, KeySet

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
