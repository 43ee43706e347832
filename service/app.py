"""The service, wired on one screen."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp

from service import errors, grants, health, monitoring, schema, tracing, wellknown
from service.account import joining
from service.account import routes as account
from service.audit import Failures
from service.board import Board
from service.catalog import LiveCopy
from service.clients import directory as clients
from service.clients.authentication import Authenticator
from service.clients.fetching import Fetcher
from service.clients.keys import ClientKeys
from service.cors import Cors
from service.database import Connection, Database
from service.documentation import DocumentedApp
from service.draining import Drain
from service.front import Arrivals, Front
from service.grants import routes as token_routes
from service.guessing import Guesses
from service.introspection import feed
from service.introspection import routes as introspection
from service.introspection.tokens import Parts as IntrospectionParts
from service.janitor import Janitor
from service.keeping import Keeper
from service.memory import Memory
from service.metrics import Exposition, Metrics
from service.monitoring import Gauges
from service.observation import AccessLog, Observed
from service.processes import end_with_parent
from service.revocation import Revocations
from service.routing import Straight
from service.settings import Settings, load
from service.signing import KeyRingWatcher, Policy, store_of
from service.tokens import Minter, TokenReader
from service.tokens.bearer import BearerGate
from service.users import roles as user_roles
from service.users.passwords import Passwords
from service.wellknown import WellKnown


def create(counts: Board) -> FastAPI:
    """Build the app from the environment: what `sealwright serve` runs in each worker."""
    return build(load(), counts)


def build(settings: Settings, counts: Board) -> FastAPI:
    """Build the app. No connection is opened before its lifespan begins.

    `counts` is where the workers of one `sealwright serve` keep what they count.
    """
    metrics = Metrics(counts.take_seat())
    spans = tracing.begin(settings)
    database = Database(
        settings.database_url.get_secret_value(),
        size=settings.database_pool_size,
        timeout=settings.database_timeout,
        waited=metrics.pool_wait_seconds.observe,
        lend=spans.connection if spans else Connection,
    )
    # What is taken back, and what tokens are signed with.
    revocations = Revocations.of(settings, database, metrics)
    store = store_of(settings, database)
    keys = KeyRingWatcher(store, Policy.of(settings), interval=settings.key_watch_interval)
    minter = Minter(settings, keys, metrics)
    reader = TokenReader(settings, keys)
    # Who asks.
    copies = {"interval": settings.watch_interval, "max_age": settings.catalog_max_age}
    directory = LiveCopy(database, clients.loader(settings.issuer), **copies)
    roles = LiveCopy(database, user_roles.load, **copies)
    fetched = ClientKeys(Fetcher(loopback=settings.jwks_uri_loopback))
    guesses, failures = Guesses(settings, database, metrics), Failures(database, "sign_in.failed")
    authenticator = Authenticator(directory, database, fetched, guesses, settings.issuer)
    gate = BearerGate(reader, revocations)
    passwords = Passwords(settings, metrics)
    # What goes on by itself.
    arrivals = Arrivals()
    drain = Drain(settings.drain_delay)
    janitor = Janitor(settings, database)
    keeper = Keeper(settings, database, revocations, store, keys)
    gauges = Gauges(metrics, database, revocations, keys, passwords, guesses)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            if spans is not None:
                stack.push_async_callback(spans.close)
            stack.callback(passwords.close)
            stack.push_async_callback(database.close)
            await database.open()
            await schema.require(database)
            copied, counting = (keys, directory, roles), (failures, guesses, gauges)
            for part in (*copied, revocations, arrivals, janitor, keeper, Memory(), *counting):
                stack.push_async_callback(part.stop)
                await part.start()
            stack.callback(end_with_parent())
            drain.take_over(revocations.feed.close)
            yield

    access = AccessLog(settings.log_rendering, sys.stderr) if settings.access_log else None
    granting = grants.Parts(
        settings,
        database,
        revocations,
        directory,
        authenticator,
        roles,
        passwords,
        minter,
        reader,
        failures,
        guesses,
        metrics,
    )
    judging = IntrospectionParts(settings, database, revocations, reader)
    routers = [
        token_routes.routes(granting),
        introspection.routes(judging, directory, authenticator),
        feed.routes(settings.issuer, revocations, authenticator, gate),
        account.routes(settings, database, revocations, passwords, guesses, gate),
        joining.routes(settings, database, passwords, guesses),
        wellknown.routes(),
        health.routes(database, revocations, guesses, keys, keeper, drain),
    ]
    if settings.metrics_token is not None:
        routers.append(monitoring.routes(Exposition(counts, settings.metrics_token)))

    def entrance(framework: ASGIApp) -> ASGIApp:
        straight = Straight(framework, routers=routers)
        front = Front(straight, settings=settings, arrivals=arrivals, allowed=Cors(directory))
        answering = WellKnown(front, settings=settings, keys=keys, drain=drain)
        return Observed(spans.around(answering) if spans else answering, metrics, access)

    app = DocumentedApp(
        entrance=entrance,
        title="Sealwright",
        summary="Issues, rotates, revokes and publishes tokens.",
        lifespan=lifespan,
        docs_url="/docs" if settings.development else None,
        redoc_url=None,
        # Ours are `spans`, and `metrics`; FastAPI's would ask the environment about them at each request.
        telemetry={"tracing": False, "metrics": False, "logs": False},
        # A redirect would go to whatever Host the request named, with the secrets in its body.
        redirect_slashes=False,
        openapi_url="/openapi.json" if settings.development else None,
        exception_handlers=dict.fromkeys(
            (errors.Refusal, HTTPException, ClientDisconnect, Exception), errors.render
        ),
    )
    for router in routers:
        app.include_router(router)
    return app
