"""Takes secrets out of what is about to be logged: by the name of a value, and by the shape of a text.

It is the last resort, not a licence: code must not hand a secret to a logger in the first place.
"""

import itertools
import re
from collections.abc import Iterator, Mapping

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
    re.compile(shape)
    for shape in (
        # PEM, up to its end or, if that is cut off, to the end of the text.
        r"(?P<x>-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?s:.*?)(?:-----END [A-Z0-9 ]*PRIVATE KEY-----|\Z))",
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

_URL_LIKE = re.compile(r"[^\s\"'<>]+")

_LONGEST_NAME = 16
"""Characters of the longest word that stands before a secret."""


def names_a_secret(name: str) -> bool:
    """Whether a value of this name is not to be shown, whatever it is."""
    return _NAME.search(name) is not None


def text(value: str) -> str:
    """Return a text without what looks like a secret."""
    if len(value) > _LONGEST:
        value = value[:_LONGEST] + "…"
    spans = sorted(itertools.chain(_in_urls(value), *(_of(shape, value) for shape in _SHAPES)))
    if not spans:
        return value
    kept: list[str] = []
    upto = 0
    for begin, end in spans:
        if begin >= upto:
            kept += [value[upto:begin], REDACTED]
        upto = max(upto, end)
    return "".join([*kept, value[upto:]])


def _in_urls(value: str) -> Iterator[tuple[int, int]]:
    # The user and password of a URL; up to the last @, for a password may hold one that nobody encoded.
    for word in _URL_LIKE.finditer(value):
        begin = value.find("://", *word.span())
        end = value.rfind("@", *word.span())
        if 0 <= begin < end - 2:
            yield begin + 3, end


def _of(shape: re.Pattern[str], value: str) -> Iterator[tuple[int, int]]:
    # What is found may overlap: in "token token=x" the second word is a name, too. But only a name at the very end of
    # what was found, perhaps with backslashes behind it, can have its value beyond; the others need no second look,
    # or a text made for it would cost the square of its length.
    found = shape.search(value)
    while found is not None:
        begin, end = found.span("x")
        yield begin, end
        quoted = value[begin] in "\"'"
        name = len(value[begin:end].rstrip("\\")) + begin - _LONGEST_NAME
        found = shape.search(value, found.start() + 1 if quoted else max(found.start() + 1, name))


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
