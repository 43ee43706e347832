"""Sealing what is kept in Postgres with the key-encryption key: AES-256-GCM (NIST SP 800-38D), a random nonce each.

Whoever reads the database learns no private key; whoever writes to it, and lacks the key-encryption key, can put
no key of theirs into the ring, nor one in another's place: what is sealed is bound to what it is for.
"""

import base64
import binascii
import os
from collections.abc import Sequence
from typing import NoReturn, Protocol, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from pydantic import SecretStr

from service.settings import PREFIX
from service.signing.entries import KeyRingError

VARIABLE = PREFIX + "KEY_ENCRYPTION_KEY"
HOW_TO = "Make one: openssl rand -base64 32"

_FORMAT = b"\x01"
_NONCE = 12  # bytes. 2^32 sealings with one key are safe; a ring makes a handful a year
_MOST = 2


class _Settings(Protocol):
    @property
    def key_encryption_words(self) -> SecretStr | None: ...


class Seals:
    """The key-encryption keys: the first seals, all of them open."""

    __slots__ = ("__keys",)

    def __init__(self, keys: Sequence[bytes]) -> None:
        self.__keys = tuple(AESGCM(key) for key in keys)

    @classmethod
    def of(cls, settings: _Settings) -> Self:
        """Take them from the settings.

        Raises:
            KeyRingError: there is none, or it is not a key.
        """
        given = settings.key_encryption_words
        words = [] if given is None else given.get_secret_value().replace(",", " ").split()
        if not 1 <= len(words) <= _MOST:
            raise KeyRingError(
                f"{VARIABLE} holds one key, or two while it is changed, the new one first "
                f"(or {VARIABLE}_FILE names a file that does). {HOW_TO}"
            )
        return cls([_decoded(word) for word in words])

    def seal(self, data: bytes, purpose: str) -> bytes:
        """Seal data for a purpose, in the name of which alone it can be opened."""
        nonce = os.urandom(_NONCE)
        return _FORMAT + nonce + self.__keys[0].encrypt(nonce, data, _bound(purpose))

    def open(self, sealed: bytes, purpose: str) -> bytes:
        """Open what `seal` made.

        Raises:
            KeyRingError: it was sealed with another key, for another purpose, or changed since.
        """
        nonce, rest = sealed[1 : 1 + _NONCE], sealed[1 + _NONCE :]
        for key in self.__keys if sealed[:1] == _FORMAT else ():
            try:
                return key.decrypt(nonce, rest, _bound(purpose))
            except (InvalidTag, ValueError):
                continue
        raise KeyRingError(
            f"The {purpose} in Postgres cannot be opened: {VARIABLE} is not the one that it was sealed with, or "
            "somebody has changed it. Set the right one, or restore it from your backup."
        )

    def __repr__(self) -> str:
        return "Seals()"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a key-encryption key stays where it is")


def _bound(purpose: str) -> bytes:
    return b"sealwright " + purpose.encode()


def _decoded(word: str) -> bytes:
    try:
        text = word.rstrip("=").replace("+", "-").replace("/", "_")
        key = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        key = b""
    if len(key) != 32:
        raise KeyRingError(f"{VARIABLE} is not 32 bytes in base64. {HOW_TO}")
    return key
