"""POST /introspect and POST /revoke."""

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service.catalog import LiveCopy
from service.clients.authentication import Authenticator, presented, required
from service.clients.directory import Client, Directory
from service.errors import NO_STORE, OAuthError
from service.http import FORM, Parameters, answer, authorization, caller_address, read_parameters
from service.introspection.documentation import INTROSPECT, REVOKE
from service.introspection.revoking import revoke
from service.introspection.tokens import Parts, introspected
from service.routing import PlainRoute


def routes(parts: Parts, directory: LiveCopy[Directory], authenticator: Authenticator) -> APIRouter:
    """Return both endpoints."""

    async def introspect_token(request: Request) -> Response:
        parameters = await read_parameters(request, FORM)
        # It gives nobody a token, so while Postgres is away it goes on with the last copy.
        client = await _client(request, parameters, for_tokens=False)
        if not client.confidential:
            raise OAuthError("invalid_client", "introspection takes a confidential client (RFC 7662 2.1)")
        return answer(await introspected(parts, client, directory.last, _token(parameters)))

    async def revoke_token(request: Request) -> Response:
        parameters = await read_parameters(request, FORM)
        client = await _client(request, parameters)
        await revoke(parts, client, _token(parameters), caller_address(request))
        return Response(status_code=200, headers=NO_STORE)

    async def _client(request: Request, parameters: Parameters, *, for_tokens: bool = True) -> Client:
        credentials = presented(authorization(request), parameters.one)
        return await authenticator.authenticate(
            required(credentials), caller_address(request), for_tokens=for_tokens
        )

    router = APIRouter(route_class=PlainRoute, tags=["tokens"])
    router.post("/introspect", name="introspect", **INTROSPECT)(introspect_token)
    router.post("/revoke", name="revoke", **REVOKE)(revoke_token)
    return router


def _token(parameters: Parameters) -> str:
    token = parameters.one.get("token")
    if token is None:
        raise OAuthError("invalid_request", "the parameter token is missing")
    return token
