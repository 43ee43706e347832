"""Who bears the token: RFC 6750 for the issuer's own endpoints."""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request

from sealwright import Claims, InvalidToken
from service import logs
from service.clients.directory import ACCOUNT
from service.errors import BearerError
from service.http import authorization
from service.revocation import Revocations
from service.tokens import TokenReader


@dataclass(frozen=True, slots=True)
class Bearer:
    """A user, signed in through a client."""

    user_id: UUID
    session_id: UUID
    claims: Claims


class BearerGate:
    """Lets in who bears a live access token with scope `account` whose `aud` names the issuer.

    A token for some resource service alone is refused: that service could otherwise act on its callers' accounts.
    """

    def __init__(self, reader: TokenReader, revocations: Revocations) -> None:
        self._reader = reader
        self._revocations = revocations

    async def admit(self, request: Request) -> Bearer:
        """Return the bearer.

        Raises:
            BearerError: 401 or 403, with the challenge of RFC 6750 3.
            Unavailable: neither Redis nor Postgres can say whether the token is revoked.
        """
        try:
            claims = self._reader.access(_token(request), for_issuer=True)
        except InvalidToken as error:
            raise BearerError(
                "invalid_token",
                "the access token is not valid here or not any more",
                detail=f"{error.reason}: {error.detail}",
            ) from None
        if await self._revocations.revoked(claims):
            raise BearerError(
                "invalid_token", "the access token has been revoked", detail=f"sid {claims.sid}"
            )
        if ACCOUNT not in claims.scope:
            raise BearerError(
                "insufficient_scope", "this takes a token with the scope account", scope=ACCOUNT
            )
        logs.bind(client_id=claims.client_id, sid=claims.sid)
        try:
            return Bearer(UUID(claims.sub), UUID(claims.sid), claims)
        except (TypeError, ValueError):
            raise BearerError("invalid_token", "this takes the token of a user's session") from None


def _token(request: Request) -> str:
    scheme, _, token = (authorization(request) or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BearerError(None, "send an access token: Authorization: Bearer …")
    return token.strip()
