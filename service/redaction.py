"""Takes secrets out of what is about to be logged: by the name of a value, and by the shape of a text.

It is the last resort, not a licence: code must not hand a secret to a logger in the first place.
"""

import re
from collections.abc import Mapping

REDACTED = "[redacted]"

_DEPTH = 8
"""Levels of nesting that are looked into; what is deeper is left out."""

_LONGEST = 16 * 1024
"""Characters of a text that are shown: nobody reads more, and looking through it has its price."""

_NAMES = (
    r"pass(?:word|wd|phrase)|pwd|secret|token|authorization|cookie|assertion|credentials?|verifier|"
    r"private[_-]?key|api[_-]?key|pem"
)
_NAME = re.compile(rf"(?:^|[_.\s-])(?:(?:{_NAMES})s?(?:[_-](?:hash|digest|sha256))?|code)$", re.IGNORECASE)

# What is secret is the group `x`. Each is looked for in the text as it came, and none starts with a word boundary:
# what stands around a secret, another one included, must not hide it.
_SHAPES = tuple(
    # A lookahead, so that matches may overlap.
    re.compile(f"(?={shape})")
    for shape in (
        # PEM, up to its end or, if that is cut off, to the end of the text.
        r"(?P<x>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z))",
        # The user and password of a URL; up to the last @, for a password may hold one that nobody encoded.
        r"://(?P<x>[^\s\"'<>]*)@",
        # A JWT or a part of one, a dot perhaps encoded: "eyJ" is how a JSON object begins in base64url.
        r"(?P<x>eyJ[\w-]{6,}(?:(?:\.|%2[Ee])[\w-]*)*)",
        # Our own secrets, by their prefix.
        r"(?P<x>sw[a-z]{1,4}_[\w-]{16,})",
        # Hashes of passwords in the modular crypt format.
        r"(?P<x>\$(?:argon2\w*|2[abxy]|bcrypt[\w-]*|scrypt|pbkdf2[\w-]*|[1567y]|gy)\$[^\s\"']+)",
        # An Authorization header's value (RFC 9110 11.4).
        r"(?i:bearer|basic|dpop)(?:\s|%20|\+)+(?P<x>[\w.~+/=%-]{6,})",
        # A private JWK's members (RFC 7518 6).
        r"""["'](?:d|p|q|dp|dq|qi|k)\\*["']\s*:\s*\\*["'](?P<x>[\w=+/-]+)""",
        # name=value and "name": "value", quoted or not, the quotes perhaps escaped.
        rf"""(?i:{_NAMES})s?\\*["']?\s*(?:=|:|%3[Dd])\s*\\*(?P<x>"[^"]*"?|'[^']*'?|[^\s&,;"')}}\]]+)""",
        r"""(?<![A-Za-z])(?i:code)\\*["']?(?:=|%3[Dd])\\*["']?(?P<x>[\w.~%+/-]+)""",
    )
)


def names_a_secret(name: str) -> bool:
    """Whether a value of this name is not to be shown, whatever it is."""
    return _NAME.search(name) is not None


def text(value: str) -> str:
    """Return a text without what looks like a secret."""
    if len(value) > _LONGEST:
        value = value[:_LONGEST] + "…"
    spans = sorted(found.span("x") for shape in _SHAPES for found in shape.finditer(value))
    if not spans:
        return value
    kept: list[str] = []
    upto = 0
    for begin, end in spans:
        if begin >= upto:
            kept += [value[upto:begin], REDACTED]
        upto = max(upto, end)
    return "".join([*kept, value[upto:]])


def clean(value: object, depth: int = _DEPTH) -> object:
    """Return a value made of JSON's types alone, without secrets: what is none of these is shown by its text."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth == 0:
        return "…"
    if isinstance(value, Mapping):
        return {text(str(name)): member(str(name), item, depth - 1) for name, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [clean(item, depth - 1) for item in value]
    if isinstance(value, bytes | bytearray):
        return text(value.decode("utf-8", "replace"))
    return text(str(value))


def member(name: str, value: object, depth: int = _DEPTH) -> object:
    """Return the value that stands under a name, or that it was taken out."""
    if names_a_secret(name) and value is not None:
        return REDACTED
    return clean(value, depth)
