"""What the ring knows of each key, and how `ring.json` spells it. Nothing here is secret."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sealwright import InvalidKey, Key
from service.settings import PREFIX

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
    `appointed_at` is when somebody asked for it to sign as soon as it may. `compromised_at` is when it was
    declared dead with all that it signed, and `settled_at` when all that follows was done; it stays listed for as
    long as what it signed could have lived.
    """

    key: Key
    created_at: datetime
    signs_from: datetime | None = None
    appointed_at: datetime | None = None
    compromised_at: datetime | None = None
    settled_at: datetime | None = None

    @property
    def kid(self) -> str:
        """The key's RFC 7638 thumbprint, also the name of its file."""
        return self.key.kid


class Damaged(ValueError):
    """The bytes are no ring; the text says what of them is wrong."""


def dump(entries: Sequence[Entry], *, moved_to: str | None = None) -> bytes:
    """Write the ring, for people to read too; `moved_to` names the store where it is changed from now on."""
    keys = [
        {
            "kid": entry.kid,
            "alg": entry.key.alg,
            "created_at": _write_time(entry.created_at),
            "signs_from": entry.signs_from and _write_time(entry.signs_from),
            "jwk": entry.key.to_jwk(),
            **{name: _write_time(at) for name, at in _marks(entry).items() if at is not None},
        }
        for entry in entries
    ]
    head = {"version": _VERSION} | ({} if moved_to is None else {"moved_to": moved_to})
    return json.dumps({**head, "keys": keys}, indent=2).encode() + b"\n"


def moved_to(raw: bytes) -> str | None:
    """Return the store that a ring, which `parse` has read, was moved to; None if this is where it is."""
    found = json.loads(raw).get("moved_to")
    return None if found is None else str(found)


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
    return Entry(
        key,
        _read_time(item["created_at"]),
        _read_time_or_none(item["signs_from"]),
        _read_time_or_none(item.get("appointed_at")),
        _read_time_or_none(item.get("compromised_at")),
        _read_time_or_none(item.get("settled_at")),
    )


def _marks(entry: Entry) -> dict[str, datetime | None]:
    return {
        "appointed_at": entry.appointed_at,
        "compromised_at": entry.compromised_at,
        "settled_at": entry.settled_at,
    }


def _read_time_or_none(text: str | None) -> datetime | None:
    return None if text is None else _read_time(text)


def _read_time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    if time.tzinfo is None:
        raise Damaged("a time in it has no time zone")
    return time.astimezone(UTC)


def _write_time(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")


def require_moved(where: object, raw: bytes) -> None:
    """Refuse what is only right for a ring that is changed elsewhere by now. Raises KeyRingError."""
    if moved_to(raw) is None:
        raise KeyRingError(f"{where} has not been moved. Run: sealwright keys move, without --done, first.")


def require_same(where: object, there: Sequence[Entry], coming: Sequence[Entry]) -> None:
    """Refuse to put a ring in place of another one. That it has arrived before, and gone on since, is fine.

    Raises KeyRingError.
    """
    if {entry.kid for entry in there}.isdisjoint(entry.kid for entry in coming):
        raise KeyRingError(f"{where} is another ring already. Move it away first, if nothing uses it.")


def moved(where: object, store: str) -> KeyRingError:
    """Return the refusal to change a ring that is changed elsewhere by now."""
    return KeyRingError(f"{where} was moved to {store}. Set {PREFIX}KEY_STORE={store} here too.")
