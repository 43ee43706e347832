"""A compact JWS (RFC 7515 7.1) signed by one of the issuer's keys, parsed strictly.

No JOSE library in between: verifying is what this package exists for, and with one it costs twice as much.
"""

from collections.abc import Callable, Collection
from functools import lru_cache
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from sealwright._encoding import base64url_decode, parse_object
from sealwright._errors import InvalidToken
from sealwright._keys import Algorithm, Key, KeySet

# Each of them would let the token choose its key (RFC 8725 3.10), or ask for something that we do not do.
# `x5t` and all others are ignored (RFC 7515 4).
_REFUSED_PARAMETERS = ("crit", "b64", "jku", "jwk", "x5u", "x5c")

# Headers of one issuer differ by key and kind only: a handful. Forged ones can do no more than push them out.
_HEADERS_KEPT = 128

MAX_LENGTH = 8192
"""Characters of a token, by default."""


class _Header(NamedTuple):
    alg: str
    typ: str
    kid: str


def verify_signed(
    token: str, keys: KeySet, *, typ: str, algorithms: Collection[str], max_length: int = MAX_LENGTH
) -> dict[str, object]:
    """Return the payload of a compact JWS whose signature one of `keys` made; no claim in it is checked.

    The key is the one whose kid the header names, and must be bound to the header's `alg`, which must be
    among `algorithms`: `none`, or HS256 with a public key as the secret, can never be (RFC 8725 3.1, 3.2).
    The header's `typ` must be `typ`, in any case and with or without `application/` before it
    (RFC 7515 4.1.9, RFC 8725 3.11, RFC 9068 4); with an empty `typ`, the header must have none. `crit`, `b64` and
    all headers that hold a key or point to one are refused, whatever they say.

    Raises:
        InvalidToken: too_long (over `max_length` characters), malformed, header, type, algorithm, unknown_key
            or signature.

    """
    if len(token) > max_length:
        raise InvalidToken("too_long", "more characters than any token of ours")
    segments = token.encode("ascii").split(b".", 3) if token.isascii() else ()
    if len(segments) != 3:
        raise InvalidToken("malformed", "not three segments of ASCII")
    header, payload, signature = segments

    alg, actual_typ, kid = _header(header)
    if actual_typ != typ.lower():
        raise InvalidToken("type", "typ is not the one expected here")
    if alg not in algorithms:
        raise InvalidToken("algorithm", "alg is not one of those expected here")
    key = keys.get(kid)
    if key is None:
        raise InvalidToken("unknown_key", "no key goes by this kid")
    if key.alg != alg:
        raise InvalidToken("algorithm", "alg is not the one that the key is for")

    _verify_signature(key, signature, header + b"." + payload)
    # Not a byte of it is looked at before: only the issuer can have our JSON parser read what it likes.
    return _object(payload)


def key_id(token: str) -> str:
    """Return the kid that a token's header names: the key that signed it, once `verify_signed` has said so.

    Raises:
        InvalidToken: the text has no header that `verify_signed` would accept.

    """
    return _header(token.partition(".")[0].encode()).kid


@lru_cache(maxsize=_HEADERS_KEPT)
def _header(segment: bytes) -> _Header:
    members = _object(segment)
    for name in _REFUSED_PARAMETERS:
        if name in members:
            raise InvalidToken("header", f"{name} is not accepted")
    alg, typ, kid = members.get("alg"), members.get("typ", ""), members.get("kid")
    if type(alg) is not str:
        raise InvalidToken("algorithm", "alg is missing or not a string")
    if type(typ) is not str or not typ.isascii():
        raise InvalidToken("type", "typ is not a media type")
    if type(kid) is not str:
        raise InvalidToken("header", "kid is missing or not a string")
    return _Header(alg, typ.lower().removeprefix("application/"), kid)


def _object(segment: bytes) -> dict[str, object]:
    text = base64url_decode(segment)
    if text is None:
        raise InvalidToken("malformed", "a segment is not canonical, unpadded base64url")
    members = parse_object(text)
    if members is None:
        raise InvalidToken("malformed", "a segment is not a JSON object with members of unique names")
    return members


def _verify_signature(key: Key, segment: bytes, signed: bytes) -> None:
    signature = base64url_decode(segment)
    if signature is None:
        raise InvalidToken("malformed", "a segment is not canonical, unpadded base64url")
    try:
        _VERIFIERS[key.alg](key.public_key, signature, signed)
    except InvalidSignature:
        pass
    else:
        return
    raise InvalidToken("signature", "the signature is not the key's")


_SHA256 = SHA256()
_PKCS1 = padding.PKCS1v15()
_PSS = padding.PSS(padding.MGF1(_SHA256), salt_length=SHA256.digest_size)  # RFC 7518 3.5: of the hash's size
_ECDSA = ec.ECDSA(_SHA256)
_ES256_HALF = 32


# Any, and not PublicKey: no Key can be made of an alg and a key of another kind.
def _rs256(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed, _PKCS1, _SHA256)


def _ps256(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed, _PSS, _SHA256)


def _es256(key: Any, signature: bytes, signed: bytes) -> None:
    # RFC 7518 3.4: R and S one after the other, 32 bytes each; cryptography speaks DER.
    if len(signature) != 2 * _ES256_HALF:
        raise InvalidSignature
    r = int.from_bytes(signature[:_ES256_HALF], "big")
    s = int.from_bytes(signature[_ES256_HALF:], "big")
    key.verify(encode_dss_signature(r, s), signed, _ECDSA)


def _eddsa(key: Any, signature: bytes, signed: bytes) -> None:
    key.verify(signature, signed)


_VERIFIERS: dict[Algorithm, Callable[[Any, bytes, bytes], None]] = {
    "RS256": _rs256,
    "PS256": _ps256,
    "ES256": _es256,
    "EdDSA": _eddsa,
}
