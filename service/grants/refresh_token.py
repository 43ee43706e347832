"""The refresh_token grant (RFC 6749 6): one statement, two signatures."""

from collections.abc import Awaitable, Callable

from sealwright import InvalidToken
from service.clients.directory import Client
from service.errors import OAuthError, Unavailable
from service.grants.answer import Caller, Parts, session_answer
from service.grants.requests import RefreshRequest
from service.grants.scope import check_known, check_resources, of_users
from service.sessions.live import Live
from service.sessions.rotation import Outcome, Presented, Refused, rotate
from service.tokens import Refresh
from service.users.roles import carried

_REFUSED = "the refresh token is not valid any more; the user must sign in again"


def verify(parts: Parts, request: RefreshRequest) -> Refresh:
    """Return what the refresh token says, once its signature and times hold.

    Raises:
        OAuthError: `invalid_grant`.
    """
    try:
        return parts.reader.refresh(request.refresh_token)
    except InvalidToken as error:
        raise OAuthError("invalid_grant", _REFUSED, detail=f"{error.reason}: {error.detail}") from None


async def grant(
    parts: Parts,
    client: Client,
    token: Refresh,
    request: RefreshRequest,
    caller: Caller,
    hung_up: Callable[[], Awaitable[bool]],
) -> dict[str, object]:
    """Exchange a refresh token of this client for its successor and a fresh access token.

    Whatever can be refused is refused before the rotation: after it, the answer is a success.
    """
    if token.client_id != client.id:
        raise OAuthError("invalid_grant", _REFUSED, detail=f"issued to {token.client_id}, not to {client.id}")
    directory, roles = parts.directory.current, parts.roles.current
    check_resources(request.asked.resources, client, directory)
    if request.asked.scope is not None and not token.scope.issuperset(request.asked.scope):
        check_known(request.asked.scope, directory)
        raise OAuthError("invalid_scope", "the scope asked for is more than was granted at sign-in")

    allowed = directory.may_ask(client)
    arrived = parts.database.clock.at(caller.arrived)
    outcome = await rotate(
        parts.database,
        parts.revocations,
        Presented(
            session_id=token.session_id,
            jti=token.jti,
            client_id=client.id,
            client_epoch=client.epoch,
            asked_resources=request.asked.resources,
            allowed_resources=tuple(allowed),
            grace=client.grace(parts.settings.refresh_grace),
            arrived=arrived,
            deadline=arrived + parts.settings.request_deadline,
        ),
        idle=client.idle(parts.settings.refresh_token_idle),
        revocation_lifetime=parts.settings.revocation_lifetime,
        address=caller.address,
        user_agent=caller.user_agent,
        hung_up=hung_up,
    )
    parts.metrics.rotations[_told(outcome),].add()
    match outcome:
        case Refused(why="resource"):
            raise OAuthError("invalid_target", "a resource asked for was not granted at sign-in")
        case Refused(why="late_reuse"):
            raise Unavailable(
                "the service",
                detail=f"session {token.session_id}: used again by a request that had waited; nothing was done",
            )
        case Refused(why=why):
            raise OAuthError("invalid_grant", _REFUSED, detail=f"session {token.session_id}: {why}")
        case Live() as session:
            present = session.scopes & client.scopes & of_users(carried(roles, session.roles))
            aud = request.asked.resources or tuple(uri for uri in session.resources if uri in allowed)
            scope = (request.asked.scope or present) & present & directory.understood(frozenset(aud))
            return session_answer(parts, client, session, aud, scope)


def _told(outcome: Outcome) -> str:
    match outcome:
        case Refused(why=why):
            return why
        case Live(replayed=replayed):
            return "grace" if replayed else "rotated"
