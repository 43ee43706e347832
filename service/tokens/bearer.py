"""Who bears the token: RFC 6750 for the issuer's own endpoints."""

from starlette.requests import Request

from sealwright import Claims, InvalidToken
from service import logs
from service.errors import BearerError
from service.http import authorization
from service.revocation import Revocations
from service.tokens.reading import TokenReader


class BearerGate:
    """Lets in who bears a live access token whose `aud` names the issuer and that has the right scope.

    A token for some resource service alone is refused: that service could otherwise act on its callers' accounts.
    """

    def __init__(self, reader: TokenReader, revocations: Revocations) -> None:
        self._reader = reader
        self._revocations = revocations

    async def admit(self, request: Request, scope: str) -> Claims:
        """Return the token's claims.

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
        if scope not in claims.scope:
            raise BearerError("insufficient_scope", f"this takes a token with the scope {scope}", scope=scope)
        logs.bind(client_id=claims.client_id, sid=claims.sid)
        return claims


def _token(request: Request) -> str:
    scheme, _, token = (authorization(request) or "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise BearerError(None, "send an access token: Authorization: Bearer …")
    return token.strip()
