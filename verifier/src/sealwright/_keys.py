"""Public keys: each bound to the one algorithm that it verifies (RFC 8725 3.1), and found by its `kid`."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, Self, get_args

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright._encoding import base64url_decode, base64url_encode, parse_object
from sealwright._errors import InvalidKey

Algorithm = Literal["RS256", "PS256", "ES256", "EdDSA"]
PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)

_MIN_RSA_BITS = 2048  # RFC 7518 3.3
_MAX_RSA_BITS = 16384  # OpenSSL verifies nothing larger
_MAX_KID = 256
_COORDINATE = 32  # bytes of a P-256 or Ed25519 coordinate
_PRIVATE = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k"})


@dataclass(frozen=True, slots=True)
class Key:
    """One public key, the algorithm that it verifies and the `kid` that it goes by.

    Raises:
        InvalidKey: if the algorithm is not one of `Algorithm` or not one of the key's kind, an RSA key is
            shorter than 2048 bits, or the kid is empty or longer than 256 characters.

    """

    kid: str
    alg: Algorithm
    public_key: PublicKey

    def __post_init__(self) -> None:
        if type(self.kid) is not str or not 0 < len(self.kid) <= _MAX_KID:
            raise InvalidKey("kid is not a string of 1 to 256 characters")
        match self.alg, self.public_key:
            case "RS256" | "PS256", rsa.RSAPublicKey() as key:
                if not _MIN_RSA_BITS <= key.key_size <= _MAX_RSA_BITS:
                    raise InvalidKey("an RSA key has 2048 to 16384 bits")
            case "ES256", ec.EllipticCurvePublicKey() as key if isinstance(key.curve, ec.SECP256R1):
                pass
            case "EdDSA", ed25519.Ed25519PublicKey():
                pass
            case _:
                raise InvalidKey("the key's kind does not fit its alg")

    @classmethod
    def from_public_key(cls, public_key: PublicKey, alg: Algorithm) -> Self:
        """Name a key by its RFC 7638 thumbprint.

        Raises:
            InvalidKey: as for `Key`.

        """
        return cls(thumbprint(public_key), alg, public_key)

    @classmethod
    def from_jwk(cls, jwk: Mapping[str, object]) -> Self:
        """Read a public JWK (RFC 7517 4, RFC 7518 6, RFC 8037 2); `kid` and `alg` are required.

        Raises:
            InvalidKey: if a member is missing, malformed or says that the key is not for verifying
                signatures, or if the JWK holds a private or a symmetric key.

        """
        if not _PRIVATE.isdisjoint(jwk):
            raise InvalidKey("a private or symmetric key was published")
        if jwk.get("use", "sig") != "sig":
            raise InvalidKey("use is not sig")
        key_ops = jwk.get("key_ops", ["verify"])
        if type(key_ops) is not list or "verify" not in key_ops:
            raise InvalidKey("key_ops does not hold verify")
        kid, alg = jwk.get("kid"), jwk.get("alg")
        if type(kid) is not str or alg not in ALGORITHMS:
            raise InvalidKey("kid or alg is missing or not supported")
        try:
            public_key = _public_key(jwk)
        except ValueError:
            # cryptography's words on a bad modulus or a point beside the curve; from None, they may quote it.
            raise InvalidKey("the key's own members are missing, malformed or not supported") from None
        return cls(kid, alg, public_key)

    def to_jwk(self) -> dict[str, str]:
        """Write the public JWK, with `use`, `alg` and `kid`."""
        return {**_required_members(self.public_key), "use": "sig", "alg": self.alg, "kid": self.kid}


class KeySet(Mapping[str, Key]):
    """The keys in force, each under its `kid`. Never changes: a new JWKS is a new KeySet.

    Raises:
        InvalidKey: if two keys share a kid.

    """

    __slots__ = ("_keys",)

    def __init__(self, keys: Iterable[Key] = ()) -> None:
        self._keys: dict[str, Key] = {}
        for key in keys:
            if key.kid in self._keys:
                raise InvalidKey("two keys share a kid")
            self._keys[key.kid] = key

    @classmethod
    def from_jwks(cls, jwks: bytes | Mapping[str, object]) -> Self:
        """Read a JWKS. Keys that `Key.from_jwk` refuses are left out, as RFC 7517 5 asks.

        So an issuer can begin to publish a kind of key that this version does not know; a token signed with
        such a key is refused as `unknown_key`.

        Raises:
            InvalidKey: if it is no JWKS, or two of the keys that are not left out share a kid.

        """
        members = parse_object(jwks.strip()) if isinstance(jwks, bytes) else jwks
        if members is None:
            raise InvalidKey("the JWKS is not a JSON object")
        jwk_list = members.get("keys")
        if type(jwk_list) is not list:
            raise InvalidKey("the JWKS has no array of keys")
        return cls(_understood(jwk_list))

    def __getitem__(self, kid: str) -> Key:
        return self._keys[kid]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)

    def __repr__(self) -> str:
        return f"KeySet({list(self._keys)})"


def thumbprint(public_key: PublicKey) -> str:
    """Return the key's RFC 7638 thumbprint with SHA-256, in base64url.

    Raises:
        InvalidKey: if it is none of the kinds of key that `Algorithm` names.

    """
    # RFC 7638 3.3: the required members only, in lexicographic order, no white space.
    canonical = json.dumps(_required_members(public_key), sort_keys=True, separators=(",", ":"))
    return base64url_encode(hashlib.sha256(canonical.encode()).digest())


def _required_members(public_key: PublicKey) -> dict[str, str]:
    match public_key:
        case rsa.RSAPublicKey():
            rsa_numbers = public_key.public_numbers()
            return {"kty": "RSA", "n": _from_uint(rsa_numbers.n), "e": _from_uint(rsa_numbers.e)}
        case ec.EllipticCurvePublicKey() if isinstance(public_key.curve, ec.SECP256R1):
            point = public_key.public_numbers()
            x, y = (base64url_encode(c.to_bytes(_COORDINATE, "big")) for c in (point.x, point.y))
            return {"kty": "EC", "crv": "P-256", "x": x, "y": y}
        case ed25519.Ed25519PublicKey():
            return {"kty": "OKP", "crv": "Ed25519", "x": base64url_encode(public_key.public_bytes_raw())}
        case _:
            raise InvalidKey("neither an RSA, a P-256 nor an Ed25519 public key")


def _understood(jwks: Iterable[object]) -> Iterator[Key]:
    for jwk in jwks:
        if isinstance(jwk, Mapping):
            try:
                key = Key.from_jwk(jwk)
            except InvalidKey:
                continue
            yield key


def _public_key(jwk: Mapping[str, object]) -> PublicKey:
    match jwk.get("kty"), jwk.get("crv"):
        case "RSA", None:
            return rsa.RSAPublicNumbers(e=_uint(jwk.get("e")), n=_uint(jwk.get("n"))).public_key()
        case "EC", "P-256":
            x, y = (int.from_bytes(_coordinate(jwk.get(name)), "big") for name in ("x", "y"))
            return ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
        case "OKP", "Ed25519":
            return ed25519.Ed25519PublicKey.from_public_bytes(_coordinate(jwk.get("x")))
        case _:
            raise ValueError("kty or crv")


def _bytes(member: object) -> bytes:
    data = base64url_decode(member.encode()) if type(member) is str else None
    if not data:
        raise ValueError("not base64url")
    return data


def _coordinate(member: object) -> bytes:
    data = _bytes(member)
    if len(data) != _COORDINATE:
        raise ValueError("not of the curve's size")
    return data


def _uint(member: object) -> int:
    data = _bytes(member)
    if data[0] == 0 or len(data) * 8 > _MAX_RSA_BITS:
        raise ValueError("not a Base64urlUInt of least length (RFC 7518 2), or too large")
    return int.from_bytes(data, "big")


def _from_uint(number: int) -> str:
    return base64url_encode(number.to_bytes((number.bit_length() + 7) // 8, "big"))
