"""`sealwright dev`: the whole service on this machine, with servers, a key and a demo of its own."""

import asyncio
import http.client
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from service import app, embedded, schema, settings, signing
from service.cli import banner, output, seed
from service.embedded.home import write_private

_HOST = "127.0.0.1"
_DATA = Path(".sealwright")
_READY = 30.0
_LOOK = 0.3
_DRAIN = 2
"""Seconds that requests under way get at the end: less than a person waits for Ctrl-C."""


def dev(
    *,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of 127.0.0.1 to listen on.")] = 8000,
    stop_with_parent: Annotated[
        bool, typer.Option("--stop-with-parent", help="Stop when the program that started this one is gone.")
    ] = False,
) -> None:
    """Run everything on this machine: PostgreSQL, Redis, a key, a demo. For development only."""
    with _until_stopped(follow=os.getppid() if stop_with_parent else None):
        try:
            _refuse_production()
            with _listening(port) as listener, embedded.start(_DATA) as servers:
                _run(servers, listener, f"http://localhost:{port}")
        except (embedded.EmbeddedError, settings.SettingsError, signing.KeyRingError) as error:
            output.fail(str(error))


def _run(servers: embedded.Servers, listener: socket.socket, issuer: str) -> None:
    known = settings.load(
        environment="development",
        issuer=issuer,
        database_url=servers.database_url,
        redis_url=servers.redis_url,
    )
    config = uvicorn.Config(
        app.create(known),
        loop="uvloop",
        http="httptools",
        lifespan="on",
        access_log=False,
        log_level="warning",
        timeout_graceful_shutdown=_DRAIN,
    )
    signing.ensure(known.keys_dir, known.signing_algorithm, _now())
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
        runner.run(schema.upgrade(servers.database_url))
        runner.run(seed.seed(known))
        with _published(servers, issuer):
            runner.run(_serve(uvicorn.Server(config), servers, listener, issuer))
