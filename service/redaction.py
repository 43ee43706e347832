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

# A later one finds what an earlier one has left. None starts with a word boundary, where what goes before
# could be made to hide the secret.
_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # PEM, up to its end or, if that is cut off, to the end of the text.
    (
        re.compile(
            r"-----BEGIN [A-Z0-9 ]*PRIVATE KEY.*?(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z)", re.DOTALL
        ),
        REDACTED,
    ),
    # The user and password of a URL; up to the last @, for a password may hold one that nobody encoded.
    (re.compile(r"://[^\s\"'<>]*@"), f"://{REDACTED}@"),
    # A JWT or a part of one, a dot perhaps encoded: "eyJ" is how a JSON object begins in base64url.
    (re.compile(r"eyJ[\w-]{6,}(?:(?:\.|%2[Ee])[\w-]*)*"), REDACTED),
    # Our own secrets, by their prefix.
    (re.compile(r"sw[a-z]{1,4}_[\w-]{16,}"), REDACTED),
    # Hashes of passwords in the modular crypt format.
    (re.compile(r"\$(?:argon2\w*|2[abxy]|bcrypt[\w-]*|scrypt|pbkdf2[\w-]*|[1567y]|gy)\$[^\s\"']+"), REDACTED),
    # An Authorization header's value (RFC 9110 11.4).
    (re.compile(r"((?:bearer|basic|dpop)(?:\s|%20|\+)+)[\w.~+/=%-]{6,}", re.IGNORECASE), rf"\1{REDACTED}"),
    # A private JWK's members (RFC 7518 6).
    (re.compile(r"""(["'](?:d|p|q|dp|dq|qi|k)\\?["']\s*:\s*\\?["'])[\w=+/-]+"""), rf"\1{REDACTED}"),
    # name=value and "name": "value", quoted or not, the quotes perhaps escaped.
    (
        re.compile(
            rf"""((?:{_NAMES})s?\\?["']?\s*(?:=|:|%3[Dd])\s*\\?)(?:"[^"]*"?|'[^']*'?|[^\s&,;"')}}\]]+)""",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"""((?<![a-z])code\\?["']?=\\?["']?)[\w.~%+/-]+""", re.IGNORECASE), rf"\1{REDACTED}"),
)


def names_a_secret(name: str) -> bool:
    """Whether a value of this name is not to be shown, whatever it is."""
    return _NAME.search(name) is not None


def text(value: str) -> str:
    """Return a text without what looks like a secret."""
    if len(value) > _LONGEST:
        value = value[:_LONGEST] + "…"
    for shape, instead in _SHAPES:
        value = shape.sub(instead, value)
    return value


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
