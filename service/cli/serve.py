"""`sealwright serve`, `sealwright migrate` and `sealwright settings`."""

import contextlib
import socket
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import DBAPIError
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from service import logs, schema, signing, tracing
from service.cli import output
from service.cli.connect import run
from service.cli.scraping import scraped
from service.database import Database
from service.headers import security_headers
from service.settings import PREFIX, Settings, SettingsError
from service.worker import Worker


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
    host, port = host or settings.host, port or settings.port
    _refuse_a_taken_port(host, port)
    with tempfile.TemporaryDirectory(prefix="sealwright-") as made:
        directory = Path(made)
        with scraped(settings, directory):
            config = uvicorn.Config(
                Worker(directory),
                factory=True,
                host=host,
                port=port,
                workers=workers or settings.workers,
                **server_options(settings),
            )
            _run(config)


def _run(config: uvicorn.Config) -> None:
    # As `uvicorn.run` does; that one takes several workers only with the name of a factory, which has no arguments.
    server = uvicorn.Server(config)
    with contextlib.suppress(KeyboardInterrupt):
        if config.workers > 1:
            Multiprocess(config, sockets=[config.bind_socket()]).run()
            return
        server.run()
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


def migrate() -> None:
    """Bring the database to this release's schema. Safe on every replica at once."""
    from service import migrating  # noqa: PLC0415  # Alembic, which no other command has to wait for

    settings = run(_reached, demand=schema.require_server)
    try:
        before, after = migrating.upgrade_now(settings.database_url.get_secret_value())
    except DBAPIError as error:
        output.fail(f"The migration failed and left everything as it was: {error.orig}")
    if before == after:
        output.say(f"The schema is at {after}: nothing to do.")
    else:
        output.say(f"Migrated from {before or 'an empty database'} to {after}.")


def settings(*, as_json: output.Json = False) -> None:
    """Print every setting: its variable, its default and what it is for."""
    knobs = [
        {
            "variable": PREFIX + name.upper(),
            "default": None if field.is_required() else plain(field.default),
            "required": field.is_required(),
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        output.document(knobs)
        return
    console = Console(highlight=False)
    for knob in knobs:
        default = "required" if knob["required"] else f"default {knob['default']}"
        console.print(f"[bold]{knob['variable']}[/]  [dim]{escape(default)}[/]")
        console.print(f"  {escape(str(knob['description']))}")


def plain(value: object) -> object:
    """Return a default as it is written in a variable: durations in seconds, lists with commas."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, int | str) else str(value)


def _refuse_a_taken_port(host: str, port: int) -> None:
    try:
        with socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET):
            return
    except OSError as error:
        output.fail(f"Cannot listen on port {port} of {host} ({error.strerror}); choose another: --port")


async def _ready(settings: Settings, database: Database) -> Settings:
    store = signing.store_of(settings, database)
    await signing.load(store, signing.Policy.of(settings), datetime.now(UTC))
    return settings


async def _reached(settings: Settings, _: Database) -> Settings:
    return settings
