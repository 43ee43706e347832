"""Reading our own tokens back, with the issuer's keys and the verifier's rules."""

import time
from dataclasses import dataclass
from typing import get_args
from uuid import UUID

from sealwright import (
    Algorithm,
    Claims,
    Expectations,
    InvalidToken,
    Registered,
    check_registered,
    key_id,
    verify,
    verify_signed,
)
from service.settings import Settings
from service.signing import KeyRingWatcher

ALGORITHMS: tuple[Algorithm, ...] = get_args(Algorithm)
"""A ring may hold keys of any: each is good for its own algorithm alone."""

ACCESS_LEEWAY = 5.0
"""Seconds that the clocks of two replicas may differ."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """A refresh token whose signature and times hold. Whether it is still good, its session's row knows."""

    client_id: str
    session_id: UUID
    jti: UUID
    sub: str
    iat: int
    exp: int
    scope: frozenset[str]
    kid: str
    """The key that signed it."""


class TokenReader:
    """Verifies tokens of this issuer, of either kind."""

    def __init__(self, settings: Settings, keys: KeyRingWatcher) -> None:
        issuer = settings.issuer
        self._keys = keys
        self._issuer = issuer
        self._leeway = settings.leeway.total_seconds()
        self._after_refresh = (settings.max_access_token_lifetime + settings.leeway).total_seconds()
        self._any = Expectations(issuer=issuer, audience=None, algorithms=ALGORITHMS, leeway=ACCESS_LEEWAY)
        self._ours = Expectations(issuer=issuer, audience=issuer, algorithms=ALGORITHMS, leeway=ACCESS_LEEWAY)
        self._late = Expectations(issuer=issuer, audience=None, algorithms=ALGORITHMS, leeway=self._leeway)

    def access(self, token: str, *, for_issuer: bool) -> Claims:
        """Verify an access token; with `for_issuer`, only one whose `aud` names the issuer.

        Raises:
            InvalidToken: it is none, or not good now.
        """
        expect = self._ours if for_issuer else self._any
        return verify(token, self._keys.ring.published, expect, now=time.time())

    def refresh(self, token: str) -> Refresh:
        """Verify a refresh token.

        Its times are held against this machine's clock with the full leeway: to the second,
        the session's row decides by Postgres's clock.

        Raises:
            InvalidToken: it is none, or its time is over.
        """
        return self._refresh(token, self._leeway)

    def either(self, token: str) -> Claims | Refresh | None:
        """Read a token of either kind; None if it is neither, or not good now."""
        return self._either(token, self._any, self._leeway)

    def revocable(self, token: str) -> Claims | Refresh | None:
        """Read a token of either kind as long as revoking it still matters to anybody; else None.

        A verifier somewhere may still accept an access token within its leeway, and the last access
        token of a session outlives its refresh token.
        """
        return self._either(token, self._late, self._after_refresh)

    def _either(self, token: str, access: Expectations, refresh_leeway: float) -> Claims | Refresh | None:
        # `typ` tells the two kinds apart, whatever a hint says (RFC 7009 2.1, RFC 7662 2.1: it may be wrong).
        try:
            return verify(token, self._keys.ring.published, access, now=time.time())
        except InvalidToken as error:
            if error.reason != "type":
                return None
        try:
            return self._refresh(token, refresh_leeway)
        except InvalidToken:
            return None

    def _refresh(self, token: str, leeway: float) -> Refresh:
        payload = verify_signed(token, self._keys.ring.known, typ="rt+jwt", algorithms=ALGORITHMS)
        claims = check_registered(
            payload, issuer=self._issuer, audience=self._issuer, now=time.time(), leeway=leeway
        )
        return as_refresh(claims, key_id(token))


def as_refresh(claims: Registered, kid: str) -> Refresh:
    """Take from the claims of a refresh token what is its own; `kid` is the key that signed it.

    Raises:
        InvalidToken: there is no session in them.
    """
    try:
        session_id, jti = UUID(claims.sid), UUID(claims.jti)
    except (TypeError, ValueError):
        raise InvalidToken("claims", "sid and jti of a refresh token are UUIDs") from None
    return Refresh(claims.client_id, session_id, jti, claims.sub, claims.iat, claims.exp, claims.scope, kid)
