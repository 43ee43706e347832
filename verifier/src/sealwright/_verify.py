"""What a valid token is. The issuer and every resource service ask here."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from sealwright import _claims
from sealwright._claims import Claims, Registered
from sealwright._errors import InvalidToken
from sealwright._jws import key_id, verify_signed
from sealwright._keys import ALGORITHMS, Algorithm, KeySet


@dataclass(frozen=True, slots=True, kw_only=True)
class Expectations:
    """What a resource service expects of every token; made once, at its start.

    `audience` is the URI that the resource is registered by. None accepts any audience: right for an issuer
    that introspects, never for a resource service (RFC 9068 4). `leeway` is seconds that clocks may differ.

    Raises:
        ValueError: if a value cannot have been meant, such as no algorithm or a leeway below 0.

    """

    issuer: str
    audience: str | None
    algorithms: tuple[Algorithm, ...] = ("RS256",)
    leeway: float = 5
    typ: str = "at+jwt"

    def __post_init__(self) -> None:
        if not self.issuer or self.audience == "":
            raise ValueError("issuer and audience must not be empty; audience may be None")
        if not self.typ or "/" in self.typ:
            raise ValueError("typ must be a media type without its application/")
        if (
            type(self.algorithms) is not tuple
            or not self.algorithms
            or set(self.algorithms) - set(ALGORITHMS)
        ):
            raise ValueError(f"algorithms must be a tuple of some of {', '.join(ALGORITHMS)}")
        if not (math.isfinite(self.leeway) and self.leeway >= 0):
            raise ValueError("leeway must be 0 seconds or more")


def verify(token: str, keys: KeySet, expect: Expectations, *, now: float) -> Claims:
    """Return the claims of an access token (RFC 9068 4) that is genuine, for this audience and in time.

    `now` is in seconds since 1970. Whether the token has been revoked is not asked here.

    Raises:
        InvalidToken: for whatever else the text is; never another exception, whatever the text.

    """
    payload = verify_signed(token, keys, typ=expect.typ, algorithms=expect.algorithms)
    return Claims(
        *_registered(payload, expect.issuer, expect.audience, now, expect.leeway),
        _claims.texts(payload, "roles"),
        _claims.optional_time(payload, "auth_time"),
        _claims.texts(payload, "amr"),
        _claims.optional_counter(payload, "uep"),
        _claims.optional_counter(payload, "cep"),
        key_id(token),
    )


def check_registered(
    payload: Mapping[str, object], *, issuer: str, audience: str | None, now: float, leeway: float
) -> Registered:
    """Check the claims that access and refresh tokens share, in a payload from `verify_signed`.

    `audience` None accepts any. `now` and `leeway` are in seconds. A token is over from its `exp` plus the
    leeway on (RFC 7519 4.1.4), and not good before its `nbf` and `iat` less the leeway.

    Raises:
        InvalidToken: issuer, audience, expired or not_yet_valid, checked in this order; claims for one that
            is missing or of the wrong type.

    """
    return Registered(*_registered(payload, issuer, audience, now, leeway))


def check_times(token: Registered, *, now: float, leeway: float) -> None:
    """Check once more whether a token that was good is in time.

    Raises:
        InvalidToken: expired or not_yet_valid.

    """
    _check_end(token.exp, now, leeway)
    if token.nbf is not None:
        _check_beginning("nbf", token.nbf, now, leeway)
    _check_beginning("iat", token.iat, now, leeway)


# The fields of Registered, in its order. Not a Registered: making a frozen dataclass costs as much as all the
# checks, and Claims is one already.
_Registered = tuple[str, str, str, tuple[str, ...], int, int, str, int | None, frozenset[str], str | None]


def _registered(
    payload: Mapping[str, object], issuer: str, audience: str | None, now: float, leeway: float
) -> _Registered:
    iss = _claims.text(payload, "iss")
    if iss != issuer:
        raise InvalidToken("issuer", "iss is not the issuer trusted here")
    aud = _claims.audiences(payload)
    if audience is not None and audience not in aud:
        raise InvalidToken("audience", "aud does not name this audience")

    exp = _claims.time(payload, "exp")
    _check_end(exp, now, leeway)
    nbf = _claims.optional_time(payload, "nbf")
    if nbf is not None:
        _check_beginning("nbf", nbf, now, leeway)
    iat = _claims.time(payload, "iat")
    _check_beginning("iat", iat, now, leeway)

    return (
        iss,
        _claims.text(payload, "sub"),
        _claims.text(payload, "client_id"),
        aud,
        iat,
        exp,
        _claims.text(payload, "jti"),
        nbf,
        _claims.scopes(payload),
        _claims.optional_text(payload, "sid"),
    )


# Each comparison is written so that a NaN refuses.
def _check_end(exp: int, now: float, leeway: float) -> None:
    if not now < exp + leeway:
        raise InvalidToken("expired", "exp is past")


def _check_beginning(name: str, begins: int, now: float, leeway: float) -> None:
    if not begins <= now + leeway:
        raise InvalidToken("not_yet_valid", f"{name} is in the future")
