"""The two encodings of RFC 7515, base64url and JSON, read so strictly that each value has one spelling.

What cannot be read is None, not an exception: the exceptions of `binascii` and `json` carry the whole input,
and would take it along into whatever records a traceback.
"""

import binascii
import json
import math
from collections.abc import Sequence
from typing import NoReturn

_BACKSLASH = ord("\\")
_FOREIGN = 0
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/" + bytes([_FOREIGN] * 3))
_TO_URL = bytes.maketrans(b"+/", b"-_")

# The last character of an unpadded text also carries the bits that no byte needs. They must be zero
# (RFC 4648 3.5), or one token could be written in several ways. 1 over a multiple of 4 is no length at all.
_LAST = {2: b"AQgw", 3: b"AEIMQUYcgkosw048"}


def base64url_decode(text: bytes) -> bytes | None:
    """Read unpadded base64url (RFC 7515 2), or None if it is anything else or another spelling of it."""
    over = len(text) & 3
    if over and (over == 1 or text[-1] not in _LAST[over]):
        return None
    try:
        return binascii.a2b_base64(text.translate(_FROM_URL) + b"=="[: -over & 3], strict_mode=True)
    except binascii.Error:
        return None


def base64url_encode(data: bytes) -> str:
    """Write unpadded base64url (RFC 7515 2)."""
    return binascii.b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


def parse_object(text: bytes) -> dict[str, object] | None:
    """Read a JSON object in UTF-8, or None if it is not one that every reader understands alike.

    So no member named twice (RFC 7515 4), no NaN or Infinity, no number beyond a float, nothing around the
    object; and no string that holds a NUL or half a character, which Postgres or UTF-8 would refuse later,
    where nobody expects it.
    """
    try:
        characters = text.decode("utf-8")
        value, end = _DECODER.raw_decode(characters)
        if _BACKSLASH in text:  # JSON and UTF-8 let neither of them in but as an escape
            _check_strings(value)
    except (ValueError, RecursionError):
        return None
    return value if type(value) is dict and end == len(characters) else None


def _check_strings(value: object) -> None:
    match value:
        case str():
            if "\0" in value:
                raise ValueError("a NUL")
            value.encode("utf-8")
        case list():
            for item in value:
                _check_strings(item)
        case dict():
            for name, member in value.items():
                _check_strings(name)
                _check_strings(member)


def _unique(members: Sequence[tuple[str, object]]) -> dict[str, object]:
    value = dict(members)
    if len(value) != len(members):
        raise ValueError("a member is named twice")
    return value


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError("a number beyond a float")
    return value


def _refuse(_: str) -> NoReturn:
    raise ValueError("not JSON (RFC 8259 6)")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
