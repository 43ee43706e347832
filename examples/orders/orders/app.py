"""The application, wired: `uvicorn --factory orders.app:from_environment --port 8001`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
from fastapi import APIRouter, FastAPI
from starlette.requests import Request
from starlette.responses import JSONResponse

from orders.routes import routes
from orders.settings import Settings
from orders.store import Orders
from sealwright import Options, Verifier
from sealwright.fastapi import Guard

_DATABASE_AWAY = (OSError, asyncpg.PostgresConnectionError, asyncpg.InterfaceError)


def from_environment() -> FastAPI:
    """Build the application from the environment."""
    settings = Settings()
    return build(settings, verifier_of(settings))


def verifier_of(settings: Settings) -> Verifier:
    """Make the verifier that the settings describe."""
    return Verifier(
        settings.issuer,
        settings.audience,
        client_id=settings.client_id,
        client_secret=settings.client_secret.get_secret_value(),
        internal_url=settings.internal_url,
        stale=settings.stale,
        options=Options(max_feed_age=settings.max_feed_age),
    )


def build(settings: Settings, verifier: Verifier) -> FastAPI:
    """Build the application; its lifespan opens the database and starts the verifier."""
    orders = Orders(settings.database_url.get_secret_value())
    guard = Guard(verifier, development=settings.development)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with orders, verifier:
            yield

    app = FastAPI(
        title="Orders", lifespan=lifespan, openapi_url="/openapi.json" if settings.development else None
    )
    app.include_router(routes(guard, orders))
    app.include_router(guard.router)
    app.include_router(_health(verifier, orders))
    for error in _DATABASE_AWAY:
        app.add_exception_handler(error, _database_away)
    return app


def _health(verifier: Verifier, orders: Orders) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        return {"status": "ok"}

    @router.get("/readyz")
    async def ready() -> JSONResponse:
        await orders.ping()
        tokens = verifier.health()
        # An issuer that is away for a while takes nobody out of service: `stale` says what becomes of tokens then.
        status = 200 if tokens.keys else 503
        return JSONResponse({"database": "ok", "tokens": tokens.doing, "keys": tokens.keys}, status)

    return router


async def _database_away(_: Request, __: Exception) -> JSONResponse:
    return JSONResponse({"detail": "the database cannot be reached"}, 503, {"Retry-After": "1"})
