"""Private keys: making one, reading one, signing with one. What is private stays behind `Signer`."""

import base64
import json
from collections.abc import Callable
from typing import Final, Literal, NoReturn, cast, get_args

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from jwt import PyJWK, PyJWTError
from jwt.api_jws import PyJWS

from sealwright import Algorithm, InvalidKey, Key

TokenType = Literal["at+jwt", "rt+jwt"]
"""The `typ` of each kind of token: access (RFC 9068 2.1) and refresh."""

RSA_BITS: Final = 2048
"""Of new keys, and the least of any (RFC 7518 3.3). One of 4096 would sign five times slower."""

_PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


class Unusable(ValueError):
    """A private key that cannot sign for its entry; the text says why and holds nothing of it."""


class Signer:
    """One private key at work. It can be asked for signatures, never for the key."""

    __slots__ = ("__sign", "_headers", "key")

    def __init__(self, key: Key, private: _PrivateKey) -> None:
        self.key = key
        self.__sign = _signing(key.alg, private)
        # They are the same for every token, so they are encoded once.
        self._headers = {typ: _header(key, typ) for typ in get_args(TokenType)}

    def jws(self, typ: TokenType, payload: bytes) -> str:
        """Return `payload` as a compact JWS (RFC 7515 7.1)."""
        signed = self._headers[typ] + _base64url(payload)
        return (signed + b"." + _base64url(self.__sign(signed))).decode("ascii")

    def __repr__(self) -> str:
        return f"Signer({self.key.kid})"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a private key stays where it is")


def make(algorithm: Algorithm) -> tuple[Key, bytes]:
    """Make a key; its public half and its private one as PKCS8 PEM."""
    while True:
        private = _make_private(algorithm)
        key = Key.from_public_key(private.public_key(), algorithm)
        # The kid is an argument of commands, and would be taken for an option.
        if not key.kid.startswith("-"):
            return key, _pkcs8(private)


def read(pem: bytes, key: Key) -> Signer:
    """Read the private half of `key`.

    Raises:
        Unusable: it is none, or another key's.
    """
    private = _load(pem)
    try:
        same = Key.from_public_key(private.public_key(), key.alg).kid == key.kid
    except InvalidKey:
        same = False
    if not same:
        raise Unusable("holds another key than its name and the ring say")
    return _proven(Signer(key, private))


def take(pem: bytes, algorithm: Algorithm) -> tuple[Key, bytes]:
    """Read a key that was made elsewhere; return what `make` does.

    Raises:
        Unusable: it is no private key, or not one for this algorithm.
    """
    private = _load(pem)
    try:
        key = Key.from_public_key(private.public_key(), algorithm)
    except InvalidKey:
        raise Unusable(f"is no key for {algorithm}, which new keys are to sign with") from None
    return _proven(Signer(key, private)).key, _pkcs8(private)


def _load(pem: bytes) -> _PrivateKey:
    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise Unusable("is not an unencrypted PEM private key") from None
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < RSA_BITS:
        raise Unusable(f"is too small: an RSA key has at least {RSA_BITS} bits")
    return cast("_PrivateKey", private)


def _pkcs8(private: _PrivateKey) -> bytes:
    return private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _proven(signer: Signer) -> Signer:
    # By a library that shares no code with ours, from the published JWK, as a stranger would: what we
    # sign is good for others too, or this key never signs.
    try:
        PyJWS().decode(signer.jws("at+jwt", b"{}"), PyJWK(signer.key.to_jwk()), algorithms=[signer.key.alg])
    except PyJWTError:
        raise Unusable("makes signatures that its own public key does not verify") from None
    return signer


def _make_private(algorithm: Algorithm) -> _PrivateKey:
    match algorithm:
        case "RS256" | "PS256":
            return rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()


_SHA256 = SHA256()
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(padding.MGF1(_SHA256), salt_length=SHA256.digest_size)  # RFC 7518 3.5: of the hash's size
_ECDSA = ec.ECDSA(_SHA256)


def _signing(alg: Algorithm, private: _PrivateKey) -> Callable[[bytes], bytes]:
    # That the key is of the algorithm's kind was settled by `Key`.
    match private:
        case rsa.RSAPrivateKey():
            scheme = _PSS if alg == "PS256" else _PKCS1
            return lambda data: private.sign(data, scheme, _SHA256)
        case ec.EllipticCurvePrivateKey():
            return lambda data: _raw(private.sign(data, _ECDSA))
        case ed25519.Ed25519PrivateKey():
            return private.sign


def _raw(der: bytes) -> bytes:
    # RFC 7518 3.4: R and S one after the other, 32 bytes each; cryptography speaks DER.
    r, s = decode_dss_signature(der)
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def _header(key: Key, typ: TokenType) -> bytes:
    members = {"alg": key.alg, "typ": typ, "kid": key.kid}
    return _base64url(json.dumps(members, separators=(",", ":")).encode()) + b"."


def _base64url(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")
