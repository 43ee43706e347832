"""Taking a token back for the client that it was issued to (RFC 7009)."""

import time
from datetime import timedelta

from service.audit import record as audit
from service.clients.directory import Client
from service.errors import OAuthError
from service.introspection.tokens import Parts
from service.revocation import Revocation
from service.sessions.ending import end_in
from service.settings import STALENESS
from service.tokens import Refresh


async def revoke(parts: Parts, client: Client, token: str, address: str | None) -> None:
    """Revoke an access token by its `jti`, or a refresh token with its whole session.

    What is no token of ours, or over, needs no revoking: that is a success (RFC 7009 2.2).

    Raises:
        OAuthError: `invalid_grant`, the token was issued to another client.
    """
    claims = parts.reader.revocable(token)
    if claims is None:
        return
    if claims.client_id != client.id:
        raise OAuthError(
            "invalid_grant",
            "the token was issued to another client; only that one may revoke it",
            detail=f"issued to {claims.client_id}, not to {client.id}",
        )
    if isinstance(claims, Refresh):
        lifetime = parts.settings.revocation_lifetime
        async with parts.revocations.transaction() as revoking:
            ended = await end_in(revoking, claims.session_id, "revoked", lifetime, address=address)
        if not ended:
            # Whoever ended it may not have lived to tell Redis: this answer has to wait for it as well.
            await parts.revocations.catch_up()
        return
    async with parts.revocations.transaction() as revoking:
        left = timedelta(seconds=max(claims.exp - time.time(), 0)) + parts.settings.leeway + STALENESS
        # Told once: one token, sent again and again, must not fill the audit. Revoked each time: where Redis has not
        # heard of the first yet, the answer to the second has to wait for it as well.
        told = await parts.revocations.has(revoking.db, "jti", claims.jti)
        revoking.revoke(Revocation("jti", claims.jti, "revoked", left))
        if not told:
            await audit(
                revoking.db,
                "token.revoked",
                client_id=client.id,
                address=address,
                detail=f"jti {claims.jti} of sub {claims.sub}",
            )
