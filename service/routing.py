"""How a route is declared: apart from `http`, so that commands need not load FastAPI."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response


class PlainRoute(APIRoute):
    """A route that takes the request and returns the response, documented in the OpenAPI page like any other.

    FastAPI's own handling of parameters costs as much as a signature; these routes read their body themselves.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:  # noqa: D102  # FastAPI's
        return self.endpoint
