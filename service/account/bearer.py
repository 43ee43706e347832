"""The user whose account it is, by the token that the request bears."""

from dataclasses import dataclass
from uuid import UUID

from starlette.requests import Request

from sealwright import Claims
from service.clients.directory import ACCOUNT
from service.errors import BearerError
from service.tokens.bearer import BearerGate


@dataclass(frozen=True, slots=True)
class Bearer:
    """A user, signed in through a client."""

    user_id: UUID
    session_id: UUID
    claims: Claims


async def signed_in(gate: BearerGate, request: Request) -> Bearer:
    """Return who bears a live access token of a user's session with the scope `account`. Raises as the gate does."""
    claims = await gate.admit(request, ACCOUNT)
    try:
        return Bearer(UUID(claims.sub), UUID(claims.sid), claims)
    except (TypeError, ValueError):
        raise BearerError("invalid_token", "this takes the token of a user's session") from None
