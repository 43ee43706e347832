"""The two encodings of RFC 7515, base64url and JSON, read so strictly that each value has one spelling.

What cannot be read is None, not an exception: the exceptions of `binascii` and `json` carry the whole input,
and would take it along into whatever records a traceback.
"""

import json
import math
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from typing import NoReturn

_BACKSLASH = ord("\\")
_FOREIGN = 0
_FROM_URL = bytes.maketrans(b"-_+/=", b"+/" + bytes([_FOREIGN] * 3))
_TO_URL = bytes.maketrans(b"+/", b"-_")

# By the length's remainder over 4: the padding that was left out, and what the last character may be. It has
# bits that no byte needs, which must be zero (RFC 4648 3.5), or one token could be written in several ways.
# No bytes make a remainder of 1.
_ENDS = {1: (b"", b""), 2: (b"==", b"AQgw"), 3: (b"=", b"AEIMQUYcgkosw048")}


def base64url_decode(text: bytes) -> bytes | None:
    """Read unpadded base64url (RFC 7515 2), or None if it is anything else or another spelling of it."""
    standard = text.translate(_FROM_URL)
    remainder = len(text) & 3
    if remainder:
        padding, last = _ENDS[remainder]
        if text[-1] not in last:
            return None
        standard += padding
    try:
        return a2b_base64(standard, strict_mode=True)
    except ValueError:
        return None


def base64url_encode(data: bytes) -> str:
    """Write unpadded base64url (RFC 7515 2)."""
    return b2a_base64(data, newline=False).translate(_TO_URL, b"=").decode("ascii")


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
