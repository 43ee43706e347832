"""What the ring knows of each key, and how `ring.json` spells it. Nothing here is secret."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sealwright import InvalidKey, Key

_VERSION = 1


class KeyRingError(Exception):
    """The key ring cannot be used or changed.

    The text names the file and what to do, and holds no key material.
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """One key of the ring, its public half only.

    `created_at` is when it was written to the ring, and so published. `signs_from` is when it begins to sign,
    or None while nobody has said so. It stops when the next one begins: no moment is written twice.
    """

    key: Key
    created_at: datetime
    signs_from: datetime | None = None

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint, also the name of its file."""
        return self.key.kid


class Damaged(ValueError):
    """The bytes are no ring; the text says what of them is wrong."""


def dump(entries: Sequence[Entry]) -> bytes:
    """Write the ring, for people to read too."""
    keys = [
        {
            "kid": entry.kid,
            "alg": entry.key.alg,
            "created_at": _write_time(entry.created_at),
            "signs_from": entry.signs_from and _write_time(entry.signs_from),
            "jwk": entry.key.to_jwk(),
        }
        for entry in entries
    ]
    return json.dumps({"version": _VERSION, "keys": keys}, indent=2).encode() + b"\n"


def parse(raw: bytes) -> tuple[Entry, ...]:
    """Read a ring, whole or not at all.

    Raises:
        Damaged: in words that quote nothing of it.
    """
    try:
        document: Any = json.loads(raw)
        entries = _entries(document["version"], document["keys"])
    except Damaged:
        raise
    except InvalidKey as error:
        raise Damaged(f"a public key in it is not usable: {error}") from None
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise Damaged("it is not the JSON that the keys commands write") from None
    starts = [entry.signs_from for entry in entries if entry.signs_from is not None]
    if len({entry.kid for entry in entries}) != len(entries) or len(set(starts)) != len(starts):
        raise Damaged("two keys in it have the same kid or begin to sign at the same moment")
    return entries


def _entries(version: Any, items: Any) -> tuple[Entry, ...]:
    if version != _VERSION:
        raise Damaged("it was written by another version of Sealwright")
    return tuple(_entry(item) for item in items)


def _entry(item: Any) -> Entry:
    key = Key.from_jwk(item["jwk"])
    if (
        not item["kid"] == key.kid == Key.from_public_key(key.public_key, key.alg).kid
        or item["alg"] != key.alg
    ):
        raise Damaged("a key's name or algorithm in it is not its own")
    signs_from = item["signs_from"]
    return Entry(key, _read_time(item["created_at"]), None if signs_from is None else _read_time(signs_from))


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise Damaged("a time in it has no time zone")
    return time.astimezone(UTC)


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
