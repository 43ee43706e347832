"""What a token says, once its signature holds: typed and bounded. `_encoding` says what strings may hold."""

from collections.abc import Mapping
from dataclasses import dataclass

from sealwright._errors import InvalidToken

Payload = Mapping[str, object]

_MAX_TEXT = 1024  # characters: an aud is a URI, all others are ids of ours
_MAX_ITEMS = 256
_MAX_TIME = 253_402_300_799  # the end of year 9999: every NumericDate is a datetime as well
_MAX_COUNTER = 2**63 - 1  # a bigint


@dataclass(frozen=True, slots=True)
class Registered:
    """What access and refresh tokens share (RFC 7519 4.1, RFC 9068 2.2). Times are seconds since 1970."""

    iss: str
    sub: str
    client_id: str
    aud: tuple[str, ...]
    iat: int
    exp: int
    jti: str
    nbf: int | None = None
    scope: frozenset[str] = frozenset()
    """What was granted; empty if the claim is missing or empty."""
    sid: str | None = None
    """The session that the token came from; None if it came from none."""


@dataclass(frozen=True, slots=True)
class Claims(Registered):
    """The claims of an access token that holds."""

    roles: tuple[str, ...] = ()
    auth_time: int | None = None
    amr: tuple[str, ...] = ()
    uep: int | None = None
    """The user's epoch that the token was made under: it is dead once the user's present one is higher."""
    cep: int | None = None
    """The client's epoch, likewise."""
    kid: str = ""
    """The key that signed the token, by its header: one that was compromised is revoked by this name."""


def text(payload: Payload, name: str) -> str:
    """Read a required string that is not empty."""
    value = payload.get(name)
    if type(value) is str and 0 < len(value) <= _MAX_TEXT:
        return value
    raise _refusal(payload, name, "a string of bounded length")


def optional_text(payload: Payload, name: str) -> str | None:
    """Read a string that is not empty, or None if there is no such claim."""
    return text(payload, name) if name in payload else None


def texts(payload: Payload, name: str) -> tuple[str, ...]:
    """Read an array of strings that are not empty; none if there is no such claim."""
    value = payload.get(name, ())
    if value == ():
        return ()
    if type(value) is list and len(value) <= _MAX_ITEMS:
        for item in value:
            if type(item) is not str or not 0 < len(item) <= _MAX_TEXT:
                break
        else:
            return tuple(value)
    raise _refusal(payload, name, "an array of strings of bounded length")


def audiences(payload: Payload) -> tuple[str, ...]:
    """Read the required `aud`: a string or an array of them (RFC 7519 4.1.3), at least one."""
    if type(payload.get("aud")) is str:
        return (text(payload, "aud"),)
    aud = texts(payload, "aud")
    if not aud:
        raise _refusal(payload, "aud", "one audience or more")
    return aud


def scopes(payload: Payload) -> frozenset[str]:
    """Read `scope` (RFC 6749 3.3, RFC 8693 4.2); a missing or empty one grants nothing."""
    value = payload.get("scope", "")
    if value == "":
        return frozenset()
    if type(value) is str:
        granted = frozenset(value.split(" "))
        if "" not in granted and len(granted) <= _MAX_ITEMS:
            return granted
    raise _refusal(payload, "scope", "a list of scopes with one space between two")


def time(payload: Payload, name: str) -> int:
    """Read a required NumericDate (RFC 7519 2): seconds since 1970, a fraction of one cut off."""
    value = payload.get(name)
    # By type, not isinstance: a bool is an int. The comparison refuses NaN and the infinities.
    if (type(value) is int or type(value) is float) and 0 <= value <= _MAX_TIME:
        return int(value)
    raise _refusal(payload, name, "a time")


def optional_time(payload: Payload, name: str) -> int | None:
    """Read a NumericDate (RFC 7519 2), or None if there is no such claim."""
    return time(payload, name) if name in payload else None


def optional_counter(payload: Payload, name: str) -> int | None:
    """Read a whole number from 0, or None if there is no such claim."""
    if name not in payload:
        return None
    value = payload[name]
    if type(value) is int and 0 <= value <= _MAX_COUNTER:
        return value
    raise _refusal(payload, name, "a whole number from 0")


def _refusal(payload: Payload, name: str, kind: str) -> InvalidToken:
    return InvalidToken("claims", f"{name} is not {kind}" if name in payload else f"{name} is missing")
