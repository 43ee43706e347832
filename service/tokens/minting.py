"""Making tokens (RFC 9068): claims in, compact JWS out."""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from service.metrics import Metrics
from service.settings import Settings
from service.signing import KeyRingWatcher
from service.signing.signer import TokenType

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


@dataclass(frozen=True, slots=True)
class Access:
    """What an access token says of its bearer. The last five are a user's session's; a client alone has none."""

    sub: str
    client_id: str
    client_epoch: int
    audience: Sequence[str]
    scope: frozenset[str]
    roles: Sequence[str] = ()
    sid: str | None = None
    auth_time: int | None = None
    amr: Sequence[str] = ()
    user_epoch: int | None = None


class Minter:
    """Signs tokens with the key that is active at that moment."""

    def __init__(self, settings: Settings, keys: KeyRingWatcher, metrics: Metrics) -> None:
        self._keys = keys
        self._metrics = metrics
        self._issuer = settings.issuer
        self._lifetime = int(settings.access_token_lifetime.total_seconds())
        self._most = int(settings.max_access_token_lifetime.total_seconds())

    def lifetime(self, wanted: timedelta | None) -> int:
        """Return an access token's lifetime in seconds (`expires_in`) for a client that wants it so; None: the usual.

        Never more than the maximum, even if that was lowered since: revocations are kept no longer.
        """
        return self._lifetime if wanted is None else min(int(wanted.total_seconds()), self._most)

    def access_token(self, access: Access, now: float, lifetime: int) -> str:
        """Mint an access token, good from `now` (seconds since 1970) for `lifetime` seconds."""
        claims: dict[str, object] = {
            "iss": self._issuer,
            "sub": access.sub,
            "client_id": access.client_id,
            "aud": access.audience[0] if len(access.audience) == 1 else access.audience,
            "iat": int(now),
            "exp": int(now) + lifetime,
            "jti": str(uuid4()),
            "scope": " ".join(sorted(access.scope)),
            "cep": access.client_epoch,
        }
        if access.sid is not None:
            claims |= {
                "roles": access.roles,
                "sid": access.sid,
                "auth_time": access.auth_time,
                "amr": access.amr,
                "uep": access.user_epoch,
            }
        return self._sign("at+jwt", claims, now)

    def refresh_token(
        self,
        *,
        user_id: UUID,
        client_id: str,
        session_id: UUID,
        jti: UUID,
        scope: frozenset[str],
        made_at: datetime,
        expires_at: datetime,
        now: float,
    ) -> str:
        """Mint the refresh token that the session's row speaks of: the same `jti` and times, however often asked."""
        claims: dict[str, object] = {
            "iss": self._issuer,
            "sub": str(user_id),
            "client_id": client_id,
            "aud": self._issuer,
            "iat": int(made_at.timestamp()),
            "exp": int(expires_at.timestamp()),
            "jti": str(jti),
            "scope": " ".join(sorted(scope)),
            "sid": str(session_id),
        }
        return self._sign("rt+jwt", claims, now)

    def _sign(self, typ: TokenType, claims: dict[str, object], now: float) -> str:
        payload = _encode(claims).encode()
        began = time.perf_counter()
        token = self._keys.ring.sign(typ, payload, now)
        self._metrics.signing_seconds.observe(time.perf_counter() - began)
        return token
