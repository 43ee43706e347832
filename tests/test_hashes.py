"""Password hashes of other systems: each kind is known by published or independent examples, and bounded."""

import base64
import hashlib
import time

import bcrypt
import pytest
from argon2 import PasswordHasher, Type
from hypothesis import given
from hypothesis import strategies as st

from service.users.hashes import Argon2, Bcrypt, Hash, Pbkdf2, Scrypt, UnusableHash, matches, parse

PASSWORD = "pässword"
SALT = b"0123456789abcdef"


def unpadded(data: bytes, plus: str = "+") -> str:
    return base64.b64encode(data).decode().rstrip("=").replace("+", plus)


def argon2(kind: Type) -> str:
    return PasswordHasher(time_cost=1, memory_cost=64, parallelism=1, type=kind).hash(PASSWORD)


def pbkdf2(name: str = "sha256", iterations: int = 1000, salt: bytes = SALT, size: int = 32) -> bytes:
    return hashlib.pbkdf2_hmac(name, PASSWORD.encode(), salt, iterations, size)


def scrypt(size: int = 32) -> bytes:
    return hashlib.scrypt(PASSWORD.encode(), salt=SALT, n=256, r=8, p=1, dklen=size)


MADE = {
    "argon2id": (argon2(Type.ID), Argon2),
    "argon2i": (argon2(Type.I), Argon2),
    "bcrypt 2a": (bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4, b"2a")).decode(), Bcrypt),
    "bcrypt 2b": (bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode(), Bcrypt),
    "bcrypt 2y": (
        bcrypt.hashpw(PASSWORD.encode(), bcrypt.gensalt(4)).decode().replace("$2b$", "$2y$"),
        Bcrypt,
    ),
    "scrypt": (f"$scrypt$ln=8,r=8,p=1${unpadded(SALT)}${unpadded(scrypt())}", Scrypt),
    "passlib sha256": (f"$pbkdf2-sha256$1000${unpadded(SALT, '.')}${unpadded(pbkdf2(), '.')}", Pbkdf2),
    "passlib sha512": (
        f"$pbkdf2-sha512$1000${unpadded(SALT, '.')}${unpadded(pbkdf2('sha512', size=64), '.')}",
        Pbkdf2,
    ),
    "passlib sha1": (
        f"$pbkdf2$1000${unpadded(SALT, '.')}${unpadded(pbkdf2('sha1', size=20), '.')}",
        Pbkdf2,
    ),
    "django": (
        f"pbkdf2_sha256$1000${SALT.decode()}${base64.b64encode(pbkdf2()).decode()}",
        Pbkdf2,
    ),
}

PUBLISHED = {
    # passlib's documentation
    "password": "$pbkdf2-sha256$6400$.6UI/S.nXIk8jcbdHx3Fhg$98jZicV16ODfEsEZeYPGHU3kbrUrvUEXOPimVSQDD44",
    # the test vectors of crypt_blowfish
    "U*U": "$2a$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
}


@pytest.mark.parametrize("kind", MADE)
def test_each_kind_knows_its_password_and_no_other(kind: str) -> None:
    text, expected = MADE[kind]
    known: Hash = parse(text)

    assert isinstance(known, expected)
    assert matches(PASSWORD, known)
    assert not matches("password", known)
    assert not matches("", known)
    assert PASSWORD not in repr(known)
    assert text[-20:] not in repr(known)


@pytest.mark.parametrize("password", PUBLISHED)
def test_what_others_have_published_is_known(password: str) -> None:
    assert matches(password, parse(PUBLISHED[password]))
    assert not matches(password + "x", parse(PUBLISHED[password]))


def test_rfc_7914_is_known() -> None:
    digest = bytes.fromhex(
        "fdbabe1c9d3472007856e7190d01e9fe7c6ad7cbc8237830e77376634b3731622eaf30d92e22a3886ff109279d9830dac727afb9"
        "4a83ee6d8360cbdfa2cc0640"
    )

    assert matches("password", Scrypt(1024, 8, 16, b"NaCl", digest))


def test_bcrypt_knows_a_long_password_by_its_first_72_bytes() -> None:
    known = parse(bcrypt.hashpw(b"x" * 72, bcrypt.gensalt(4)).decode())

    assert matches("x" * 72, known)
    assert matches("x" * 100, known)
    assert not matches("x" * 71, known)


SHORT = unpadded(b"x" * 4)
D32 = unpadded(b"x" * 32)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "$1$salt$md5",
        "{SSHA}abc",
        "!",
        "$2x$05$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$31$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$03$CCCCCCCCCCCCCCCCCCCCC.E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        "$2b$05$//////////////////////E5YPO9kmyuRGyh0XouQYb4YMJKvyOeW",
        f"$argon2id$v=19$m=10485760,t=1,p=1${D32}${D32}",
        f"$argon2id$v=19$m=65536,t=1000000,p=1${D32}${D32}",
        f"$argon2id$v=19$m=65536,t=1,p=1000${D32}${D32}",
        f"$argon2d$v=19$m=65536,t=1,p=1${D32}${D32}",
        f"$argon2id$v=19$m=65536,t=1,p=1${D32}${SHORT}",
        f"$scrypt$ln=30,r=8,p=1${D32}${D32}",
        f"$scrypt$ln=99,r=999999999,p=999999999${D32}${D32}",
        f"$scrypt$ln=14,r=8,p=1000000${D32}${D32}",
        f"$scrypt$ln=14,r=8,p=0${D32}${D32}",
        f"$scrypt$ln=0,r=8,p=1${D32}${D32}",
        f"$scrypt$ln=16,r=1,p=1${D32}${D32}",
        f"$scrypt$ln=14,r=8,p=1${D32}${SHORT}",
        f"$scrypt$ln=14,r=8,p=1${D32}$",
        f"$pbkdf2-sha256$999999999${D32}${D32}",
        f"$pbkdf2-sha256$0${D32}${D32}",
        f"$pbkdf2-sha256$1000${D32}${SHORT}",
        f"$pbkdf2-sha256$1000${D32}$xxxxx",
        f"pbkdf2_sha256$1000$salt${D32}\n",
        f"pbkdf2_sha256$1000$salt${'x' * 2000}",
    ],
)
def test_a_hash_that_is_broken_or_too_dear_is_refused_at_once_and_not_quoted(text: str) -> None:
    began = time.perf_counter()
    with pytest.raises(UnusableHash) as refused:
        parse(text)

    assert time.perf_counter() - began < 1
    assert D32 not in str(refused.value)


@given(st.text(max_size=200))
def test_whatever_it_is_it_is_read_or_refused(text: str) -> None:
    for beginning in (
        "",
        "$argon2id$v=19$",
        "$scrypt$ln=8,r=8,p=1$",
        "$pbkdf2-sha256$1$",
        "pbkdf2_sha256$1$s$",
    ):
        try:
            parse(beginning + text)
        except UnusableHash:
            continue
