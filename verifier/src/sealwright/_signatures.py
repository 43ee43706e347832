"""Tokens whose signature has been verified before: the dear part of verifying, done once a token."""

from hashlib import sha256
from typing import NamedTuple

from sealwright._claims import Claims
from sealwright._keys import Key


class Signed(NamedTuple):
    """The claims of a token, and the key that signed it."""

    claims: Claims
    key: Key


class Signatures:
    """At most `size` tokens, those used last; each under its SHA-256, so that none lies in memory.

    Only good signatures come in, so that a stream of forgeries pushes nothing out. Whether a token is still
    in time, its key still trusted and nothing revoked has to be asked each time.
    """

    __slots__ = ("_half", "_new", "_old")

    def __init__(self, size: int) -> None:
        # Two generations, each at most half: what is used moves to the new one, and a full new one becomes the
        # old one. As good as a list in order of use, and every step is one dictionary access, safe in threads.
        self._half = size // 2
        self._new: dict[bytes, Signed] = {}
        self._old: dict[bytes, Signed] = {}

    @staticmethod
    def name(token: bytes) -> bytes:
        """Return what a token is found under."""
        return sha256(token).digest()

    def get(self, name: bytes) -> Signed | None:
        """Return the token of this name, if it is held."""
        found = self._new.get(name)
        if found is None:
            found = self._old.get(name)
            if found is not None:
                self.put(name, found)
        return found

    def put(self, name: bytes, signed: Signed) -> None:
        """Hold it."""
        if self._half == 0:
            return
        if len(self._new) >= self._half:
            self._old, self._new = self._new, {}
        self._new[name] = signed

    def __len__(self) -> int:
        return len(self._new.keys() | self._old.keys())
