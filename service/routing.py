"""How a route is declared: apart from `http`, so that commands need not load FastAPI."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import Refusal, render


class PlainRoute(APIRoute):
    """A route that takes the request and returns the response, documented in the OpenAPI page like any other.

    FastAPI's own handling of parameters costs as much as a signature; these routes read their body themselves.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # noqa: D102  # FastAPI's
        return self.endpoint


class Straight:
    """Finds the plain routes without parameters in their path by one look into a table.

    FastAPI asks one route after the other, which costs as much as verifying a token. Everything else, other
    methods and unknown paths among it, is still its business.
    """

    def __init__(self, app: ASGIApp, *, routers: Iterable[APIRouter]) -> None:
        self._app = app
        self._routes = {
            (method, route.path): route
            for router in routers
            for route in router.routes
            if isinstance(route, PlainRoute) and not route.param_convertors
            for method in route.methods or ()
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        route = self._routes.get((scope["method"], scope["path"])) if scope["type"] == "http" else None
        if route is None:
            await self._app(scope, receive, send)
            return
        scope["route"] = route
        request = Request(scope, receive, send)
        response: Response
        try:
            response = await route.endpoint(request)
        except (Refusal, ClientDisconnect) as error:
            response = await render(request, error)
        except Exception as bug:
            await (await render(request, bug))(scope, receive, send)
            raise  # the server logs it
        await response(scope, receive, send)
