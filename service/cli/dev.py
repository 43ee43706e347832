"""`sealwright dev`: the whole service on this machine, with servers, a key and a demo of its own."""

import asyncio
import errno
import http.client
import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn
from rich.console import Console

from service import embedded, logs, signing
from service.board import Board
from service.cli import banner, descriptors, output
from service.cli.connect import opened
from service.cli.scraping import scraped
from service.cli.seed import seed
from service.cli.serve import server_options
from service.settings import PREFIX, Settings, SettingsError, deployment, load

_HOST = "127.0.0.1"
_DATA = Path(".sealwright")
_DRAIN = 2
"""Seconds that requests under way get at the end: no longer than a person waits after Ctrl-C."""
_READY = 30.0
_LOOK = 0.3


def dev(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of 127.0.0.1 to listen on.")] = 8000,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when the program that started this one is gone.")
    ] = False,
) -> None:
    """Run everything on this machine: PostgreSQL, Redis, a signing key, a demo. For development only."""
    with _until_stopped(follow=os.getppid() if stop_with_parent else None):
        try:
            _refuse_production()
            with _listening(port) as listener, embedded.start(_DATA) as servers:
                issuer = f"http://localhost:{port}"
                with asyncio.Runner(
                    loop_factory=uvicorn.Config("", loop="uvloop").get_loop_factory()
                ) as runner:
                    known = _prepared(servers, issuer, runner)
                    counts = Board()
                    with _published(servers, issuer), scraped(known, counts):
                        runner.run(_serve(known, counts, servers, listener))
        except (embedded.EmbeddedError, SettingsError, signing.KeyRingError) as error:
            output.fail(str(error))


def _prepared(servers: embedded.Servers, issuer: str, runner: asyncio.Runner) -> Settings:
    from service import migrating  # noqa: PLC0415  # Alembic: only once nothing speaks against it

    known = load(
        environment="development",
        access_log=False,
        issuer=issuer,
        database_url=servers.database_url,
        redis_url=servers.redis_url,
    )
    descriptors.allow(known)
    runner.run(migrating.upgrade(servers.database_url))
    runner.run(_key(known))
    runner.run(seed(known))
    return known


async def _key(known: Settings) -> None:
    async with opened(known) as database:
        store = signing.store_of(known, database)
        await store.change(signing.changes.ensure(known.signing_algorithm, datetime.now(UTC)), begin=True)


async def _serve(known: Settings, counts: Board, servers: embedded.Servers, listener: socket.socket) -> None:
    """Serve until a signal comes, or something fails that the service cannot live without."""
    from service import app  # noqa: PLC0415  # likewise

    options: dict[str, Any] = server_options(known) | {
        "log_config": logs.config(level="warning", rendering=known.log_rendering),
        "timeout_graceful_shutdown": _DRAIN,
    }
    server = uvicorn.Server(uvicorn.Config(app.build(known, counts), lifespan="on", **options))

    async def attend() -> None:
        await _ready(*listener.getsockname())
        banner.show(Console(highlight=False), known.issuer, version("sealwright-server"))
        while servers.are_watched:  # noqa: ASYNC110  # the end of another process is no event
            await asyncio.sleep(_LOOK)
        raise embedded.EmbeddedError(
            "PostgreSQL and Redis are gone: the process that watches them was killed"
        )

    def end(_: object) -> None:
        server.should_exit = True

    attendant = asyncio.create_task(attend())
    attendant.add_done_callback(end)
    try:
        await server.serve(sockets=[listener])
        if attendant.done():
            attendant.result()
    finally:
        attendant.cancel()


async def _ready(host: str, port: int) -> None:
    def ask() -> tuple[int, str]:
        connection = http.client.HTTPConnection(host, port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return answer.status, answer.read().decode(errors="replace")
        except OSError as error:
            return 0, str(error)
        finally:
            connection.close()

    deadline = time.monotonic() + _READY
    while True:
        status, said = await asyncio.to_thread(ask)
        if status == 200:
            return
        if time.monotonic() > deadline:
            raise embedded.EmbeddedError(f"the service is not ready after {_READY:.0f} s: {said}")
        await asyncio.sleep(_LOOK)


def _refuse_production() -> None:
    # The rest of the environment is looked at, too, before anything is begun.
    later = {
        "database_url": f"postgresql://sealwright:later@{_HOST}/sealwright",
        "redis_url": f"redis://{_HOST}/0",
    }
    known = load(issuer="https://localhost", **later)
    if known.development:
        return
    if "environment" in known.model_fields_set:
        output.fail(
            f"{PREFIX}ENVIRONMENT says production: `sealwright dev` is for development, with passwords that "
            "everybody knows. For a deployment: sealwright serve"
        )
    # With a deployment's keys, it would sign that deployment's tokens for users whose passwords everybody knows.
    configured = deployment()
    if configured:
        output.fail(
            f"`sealwright dev` brings its own of what this configures: {', '.join(configured)}. Unset them, "
            f"in .env as well; or, if this is a developer's machine, set {PREFIX}ENVIRONMENT=development"
        )


@contextmanager
def _listening(port: int) -> Iterator[socket.socket]:
    """Take the port before anything else is done; who connects before the service is ready waits a little."""
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((_HOST, port))
            listener.listen(512)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                output.fail(f"Port {port} of {_HOST} cannot be used: {error.strerror}")
            other = 8123 if port != 8123 else 8124
            output.fail(
                f"Port {port} of {_HOST} is taken. Stop what listens there, or: make run PORT={other}"
            )
        yield listener


@contextmanager
def _published(servers: embedded.Servers, issuer: str) -> Iterator[None]:
    """Tell other tools where everything is, for as long as it is there."""
    path = _DATA / "dev.json"
    facts = {
        "issuer": issuer,
        "database_url": servers.database_url,
        "redis_url": servers.redis_url,
        "pids": {"dev": os.getpid(), **servers.pids},
    }
    embedded.write_private(path, json.dumps(facts, indent=2) + "\n")
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


@contextmanager
def _until_stopped(*, follow: int | None) -> Iterator[None]:
    """Leave the block in order at the first signal, or when the process to follow is our parent no longer."""
    stopping = False

    def stop(*_: object) -> None:
        nonlocal stopping
        if not stopping:
            stopping = True
            raise KeyboardInterrupt

    def stop_too(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    def watch() -> None:
        while os.getppid() == follow:
            time.sleep(_LOOK)
        stop_too()

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGHUP, stop_too)
    if follow is not None:
        threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    except KeyboardInterrupt:
        output.say("Stopped.")
