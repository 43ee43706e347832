"""Password hashes as others made them, too: a closed set of kinds, each with a bound on what verifying it may cost."""

import base64
import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from service.settings import MAX_ARGON2_MEMORY, MAX_ARGON2_WORK

MAX_LENGTH = 1024  # characters of a hash
MAX_BCRYPT_COST = 15
MAX_SCRYPT_MEMORY = 512 * 1024 * 1024
"""Bytes that scrypt's N and r take; times p, a bound on its time as well."""
MAX_PBKDF2_ITERATIONS = 5_000_000
BCRYPT_READS = 72
"""Bytes of a password that bcrypt looks at. What made these hashes ignored the rest, and so do we, until the first
sign-in: then the whole of what was typed is the password."""

_MIN_DIGEST, _MAX_DIGEST = 16, 64  # bytes; a digest of a few bytes would be guessed
_MAX_LANES = 64

Pbkdf2Digest = Literal["sha1", "sha256", "sha512"]


class UnusableHash(ValueError):
    """It is of no known kind, or verifying it would cost too much; the text says which, and holds nothing of it."""


@dataclass(frozen=True, slots=True)
class Argon2:
    """RFC 9106, as a PHC string."""

    encoded: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Bcrypt:
    """`$2a$`, `$2b$` or `$2y$`, which are the same for the passwords that can be sent here."""

    encoded: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Scrypt:
    """RFC 7914."""

    n: int
    r: int
    p: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pbkdf2:
    """RFC 8018 5.2 with HMAC."""

    algorithm: Pbkdf2Digest
    iterations: int
    salt: bytes = field(repr=False)
    digest: bytes = field(repr=False)


Hash: TypeAlias = Argon2 | Bcrypt | Scrypt | Pbkdf2

_ARGON2_HASHER = PasswordHasher()  # verifying goes by the parameters of the hash
_ARGON2 = re.compile(
    r"\$argon2(?:id|i)\$v=19\$m=(?P<m>[0-9]{1,9}),t=(?P<t>[0-9]{1,9}),p=(?P<p>[0-9]{1,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<digest>[A-Za-z0-9+/]+)"
)
# Of the 22nd character of the salt, two bits count.
_BCRYPT = re.compile(r"\$2[aby]\$(?P<cost>[0-9]{2})\$[A-Za-z0-9./]{21}[.Oeu][A-Za-z0-9./]{31}")
_SCRYPT = re.compile(
    r"\$scrypt\$ln=(?P<ln>[0-9]{1,2}),r=(?P<r>[0-9]{1,9}),p=(?P<p>[0-9]{1,9})"
    r"\$(?P<salt>[A-Za-z0-9+/]+)\$(?P<digest>[A-Za-z0-9+/]+)"
)
# passlib's: base64 with a dot for the plus, and without padding.
_PBKDF2_MODULAR = re.compile(
    r"\$pbkdf2(?:-(?P<algorithm>sha256|sha512))?\$(?P<iterations>[0-9]{1,9})"
    r"\$(?P<salt>[A-Za-z0-9./]+)\$(?P<digest>[A-Za-z0-9./]+)"
)
# Django's: the salt is text.
_PBKDF2_DJANGO = re.compile(
    r"pbkdf2_(?P<algorithm>sha1|sha256)\$(?P<iterations>[0-9]{1,9})\$(?P<salt>[!-#%-~]+)\$(?P<digest>[A-Za-z0-9+/=]+)"
)


def parse(text: str) -> Hash:
    """Read a hash.

    Raises:
        UnusableHash: it is of another kind, broken, or would cost too much.
    """
    if len(text) > MAX_LENGTH:
        raise UnusableHash("the hash is too long")
    if found := _ARGON2.fullmatch(text):
        return _argon2(found)
    if found := _BCRYPT.fullmatch(text):
        _bound("bcrypt cost", int(found["cost"]), 4, MAX_BCRYPT_COST)
        return Bcrypt(text.encode())
    if found := _SCRYPT.fullmatch(text):
        return _scrypt(found)
    if found := _PBKDF2_MODULAR.fullmatch(text):
        salt, digest = (_base64(found[part].replace(".", "+")) for part in ("salt", "digest"))
        return _pbkdf2(found["algorithm"] or "sha1", found["iterations"], salt, digest)
    if found := _PBKDF2_DJANGO.fullmatch(text):
        return _pbkdf2(
            found["algorithm"], found["iterations"], found["salt"].encode(), _base64(found["digest"])
        )
    raise UnusableHash(
        "the hash is none of $argon2id$, $argon2i$, $2a$, $2b$, $2y$, $scrypt$, $pbkdf2-sha256$, $pbkdf2-sha512$, "
        "$pbkdf2$, pbkdf2_sha256$ and pbkdf2_sha1$, in full"
    )


def matches(password: str, known: Hash) -> bool:
    """Whether the password is the one that was hashed; it takes what the hash's parameters ask for."""
    given = password.encode()
    match known:
        case Argon2(encoded):
            try:
                return _ARGON2_HASHER.verify(encoded, given)
            except (VerificationError, InvalidHashError):
                return False
        case Bcrypt(encoded):
            return bcrypt.checkpw(given[:BCRYPT_READS], encoded)
        case Scrypt(n, r, p, salt, digest):
            found = hashlib.scrypt(
                given, salt=salt, n=n, r=r, p=p, maxmem=2 * MAX_SCRYPT_MEMORY, dklen=len(digest)
            )
            return hmac.compare_digest(found, digest)
        case Pbkdf2(algorithm, iterations, salt, digest):
            found = hashlib.pbkdf2_hmac(algorithm, given, salt, iterations, len(digest))
            return hmac.compare_digest(found, digest)


def _argon2(found: re.Match[str]) -> Argon2:
    memory, iterations = int(found["m"]), int(found["t"])
    _bound("Argon2 memory in KiB", memory, 8, MAX_ARGON2_MEMORY)
    _bound("Argon2 memory in KiB times its iterations", memory * iterations, 8, MAX_ARGON2_WORK)
    _bound("Argon2 lanes", int(found["p"]), 1, _MAX_LANES)
    _check_digest(_base64(found["digest"]))
    return Argon2(found.string)


def _scrypt(found: re.Match[str]) -> Scrypt:
    ln, r, p = int(found["ln"]), int(found["r"]), int(found["p"])
    _bound("scrypt ln", ln, 1, 16 * r - 1)  # RFC 7914 2; what it does not allow cannot be verified
    n = 1 << ln
    _bound("scrypt memory in bytes, times p,", 128 * n * r * p, 1024, MAX_SCRYPT_MEMORY)
    return Scrypt(n, r, p, _base64(found["salt"]), _check_digest(_base64(found["digest"])))


def _pbkdf2(algorithm: str, iterations: str, salt: bytes, digest: bytes) -> Pbkdf2:
    assert algorithm in {"sha1", "sha256", "sha512"}
    known: Pbkdf2Digest = "sha1" if algorithm == "sha1" else "sha256" if algorithm == "sha256" else "sha512"
    _bound("PBKDF2 iterations", int(iterations), 1, MAX_PBKDF2_ITERATIONS)
    return Pbkdf2(known, int(iterations), salt, _check_digest(digest))


def _bound(what: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise UnusableHash(f"the hash's {what} must be from {least:,} to {most:,}")


def _check_digest(digest: bytes) -> bytes:
    _bound("digest in bytes", len(digest), _MIN_DIGEST, _MAX_DIGEST)
    return digest


def _base64(text: str) -> bytes:
    try:
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except binascii.Error:
        raise UnusableHash("the hash is broken: a part of it is no base64") from None
