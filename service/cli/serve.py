"""`sealwright serve`."""

import contextlib
import logging
import socket
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
import uvicorn
from uvicorn.config import STARTUP_FAILURE

from service import logs, signing, tracing
from service.board import Board
from service.cli import descriptors, output
from service.cli.connect import run
from service.cli.forking import Supervisor
from service.cli.scraping import scraped
from service.database import Database
from service.headers import security_headers
from service.settings import Settings, SettingsError
from service.worker import Worker

log = logging.getLogger("sealwright")


def serve(
    *,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; one a core is right.")] = None,
    host: Annotated[str | None, typer.Option(help="The address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="The port to listen on.")] = None,
) -> None:
    """Run the service. SIGTERM ends it once the requests under way are answered."""
    try:
        settings = run(_ready)
        tracing.require(settings)
    except (signing.KeyRingError, SettingsError) as error:
        output.fail(str(error))
    descriptors.allow(settings)
    counts = Board()
    with _listening(host or settings.host, port or settings.port) as listener, scraped(settings, counts):
        _run(
            uvicorn.Config(
                Worker(counts),
                factory=True,
                workers=workers or settings.workers,
                **server_options(settings),
            ),
            listener,
        )


def _run(config: uvicorn.Config, listener: socket.socket) -> None:
    # As `uvicorn.run` does; that one takes several workers only with the name of a factory, which has no arguments.
    server = uvicorn.Server(config)
    log.info("listening on %s, port %d", *listener.getsockname()[:2])
    with contextlib.suppress(KeyboardInterrupt):
        if config.workers > 1:
            Supervisor(config, sockets=[listener]).run()
            return
        server.run(sockets=[listener])
    if not server.started:
        raise typer.Exit(STARTUP_FAILURE)


def server_options(settings: Settings) -> dict[str, Any]:
    """Return how uvicorn is to run, here and in development."""
    return {
        "loop": "uvloop",
        "http": "service.protocol:BoundedProtocol",
        "ws": "none",
        "access_log": False,
        "server_header": False,
        "proxy_headers": False,
        "headers": security_headers(settings),
        "log_config": logs.config(level=settings.log_level, rendering=settings.log_rendering),
        "limit_concurrency": settings.max_connections,
        "timeout_keep_alive": settings.keep_alive,
        "timeout_graceful_shutdown": settings.shutdown_timeout,
    }


def _listening(host: str, port: int) -> socket.socket:
    """Listen before there is a worker: while a port is bound alone, a second service may bind to it as well."""
    try:
        if ":" not in host:
            return socket.create_server((host, port))
        both = socket.has_dualstack_ipv6()
        return socket.create_server((host, port), family=socket.AF_INET6, dualstack_ipv6=both)
    except OSError as error:
        output.fail(f"Cannot listen on port {port} of {host} ({error.strerror}); choose another: --port")


async def _ready(settings: Settings, database: Database) -> Settings:
    store = signing.store_of(settings, database)
    await signing.load(store, signing.Policy.of(settings), datetime.now(UTC))
    return settings
