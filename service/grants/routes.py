"""POST /token and POST /refresh: parse, authenticate the client, grant, answer."""

from collections.abc import Callable
from functools import partial

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.clients.authentication import Credentials, presented, required
from service.clients.directory import Client
from service.errors import OAuthError, TooMany, Unavailable
from service.grants import client_credentials, password, refresh_token
from service.grants.answer import Caller, Parts
from service.grants.documentation import REFRESH, TOKEN
from service.grants.requests import (
    REPEATABLE,
    ClientCredentialsRequest,
    PasswordRequest,
    RefreshRequest,
    TokenRequest,
    parse,
    parse_refresh,
)
from service.http import (
    FORM,
    JSON,
    Parameters,
    answer,
    arrived,
    authorization,
    caller_address,
    gone,
    hung_up,
    read_parameters,
)
from service.routing import PlainRoute


def routes(parts: Parts) -> APIRouter:
    """Return the token endpoint and its short form for refreshing."""

    async def token(request: Request) -> Response:
        return await _counted(parts, request, parse, FORM)

    async def refresh(request: Request) -> Response:
        return await _counted(parts, request, parse_refresh, FORM, JSON)

    router = APIRouter(route_class=PlainRoute, tags=["tokens"])
    router.post("/token", **TOKEN)(token)
    router.post("/refresh", **REFRESH)(refresh)
    return router


async def _counted(
    parts: Parts, request: Request, parse_: Callable[[Parameters], TokenRequest], *content_types: str
) -> Response:
    grant, outcome = "unknown", "failed"
    try:
        parameters = await read_parameters(request, *content_types, repeatable=REPEATABLE)
        asked = parse_(parameters)
        grant = asked.grant_type
        answered = await _grant(parts, request, parameters, asked)
        outcome = "issued"
    except OAuthError as error:
        outcome = error.error
        raise
    except Unavailable:
        outcome = "unavailable"
        raise
    except TooMany:
        outcome = "limited"
        raise
    else:
        return answered
    finally:
        parts.metrics.grants[grant, outcome].add()


async def _grant(parts: Parts, request: Request, parameters: Parameters, asked: TokenRequest) -> Response:
    caller = Caller(caller_address(request), request.headers.get("user-agent"), arrived(request))
    credentials = presented(authorization(request), parameters.one)
    if isinstance(asked, RefreshRequest):
        token = None
        if credentials is None:
            # A public client is known by the token that it presents: its signature names the client.
            token = refresh_token.verify(parts, asked)
            credentials = Credentials(token.client_id, None)
        client = _allowed(
            await parts.authenticator.authenticate(credentials, caller.address), asked.grant_type
        )
        token = token or refresh_token.verify(parts, asked)
        return answer(
            await refresh_token.grant(parts, client, token, asked, caller, partial(hung_up, request))
        )
    if isinstance(asked, PasswordRequest):
        # Before anything is done for it: a client's assertion, for one, counts once.
        parts.passwords.require_room()
    client = await parts.authenticator.authenticate(required(credentials), caller.address)
    match asked:
        case PasswordRequest():
            signed_in = await password.grant(
                parts, _allowed(client, asked.grant_type), asked, caller, partial(gone, request)
            )
            return answer(signed_in)
        case ClientCredentialsRequest():
            return answer(client_credentials.grant(parts, _allowed(client, asked.grant_type), asked))


def _allowed(client: Client, grant_type: str) -> Client:
    if grant_type not in client.grant_types:
        raise OAuthError("unauthorized_client", f"this client may not use the grant {grant_type}")
    return client
