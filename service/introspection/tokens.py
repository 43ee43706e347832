"""Telling what kind a token is, and whether it is good."""

from dataclasses import dataclass

from sealwright import Claims
from service.clients.directory import Client, Directory
from service.database import Database
from service.revocation import Revocations
from service.sessions import reading
from service.sessions.rules import verdict
from service.settings import Settings
from service.tokens import Refresh, TokenReader


@dataclass(frozen=True, slots=True)
class Parts:
    """What both endpoints draw on."""

    settings: Settings
    database: Database
    revocations: Revocations
    reader: TokenReader


async def introspected(parts: Parts, client: Client, directory: Directory, token: str) -> dict[str, object]:
    """Return RFC 7662 2.2's answer for this client; `{"active": false}` for all that it may not see."""
    claims = parts.reader.either(token)
    if isinstance(claims, Claims):
        visible = (
            claims.client_id == client.id or client.introspect_any or directory.serves(client, claims.aud)
        )
        if visible and not await parts.revocations.revoked(claims):
            return _access(claims)
    elif isinstance(claims, Refresh) and claims.client_id == client.id:
        username = await _good(parts, client, claims)
        if username is not None and not await parts.revocations.key_revoked(claims.kid):
            return _refresh(claims, username, parts.settings.issuer)
    return {"active": False}


async def _good(parts: Parts, client: Client, token: Refresh) -> str | None:
    """Return the user's name if the refresh token would be honoured now."""
    async with parts.database.connect() as db:
        row = await reading.state(db, token.session_id, client.id)
    if row is None:
        return None
    decided = verdict(
        reading.session_state(row), token.jti, row["now"], client.grace(parts.settings.refresh_grace)
    )
    username: str = row["username"]
    return username if decided in {"rotate", "replay"} else None


def _access(claims: Claims) -> dict[str, object]:
    body: dict[str, object] = {
        "active": True,
        "token_type": "Bearer",
        "iss": claims.iss,
        "sub": claims.sub,
        "client_id": claims.client_id,
        "aud": claims.aud[0] if len(claims.aud) == 1 else list(claims.aud),
        "iat": claims.iat,
        "exp": claims.exp,
        "jti": claims.jti,
        "scope": " ".join(sorted(claims.scope)),
    }
    if claims.sid is not None:
        body |= {
            "sid": claims.sid,
            "roles": list(claims.roles),
            "auth_time": claims.auth_time,
            "amr": list(claims.amr),
        }
    return body


def _refresh(token: Refresh, username: str, issuer: str) -> dict[str, object]:
    return {
        "active": True,
        "iss": issuer,
        "aud": issuer,
        "sub": token.sub,
        "username": username,
        "client_id": token.client_id,
        "sid": str(token.session_id),
        "iat": token.iat,
        "exp": token.exp,
        "jti": str(token.jti),
        "scope": " ".join(sorted(token.scope)),
    }
