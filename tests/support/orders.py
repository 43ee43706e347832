"""examples/orders as a process of its own, as a reader starts it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from service.cli import demo
from tests.support.deployment import Deployment, Server, free_port, wait_until_ready
from tests.support.pages import ROOT

ORDERS = ROOT / "examples" / "orders"


@contextmanager
def ordering(
    deployment: Deployment, database_url: str, issuer_url: str, directory: Path, **settings: object
) -> Iterator[Server]:
    """Run it until the end of the block, with the issuer at `issuer_url`; `settings` are its own."""
    given = {
        "database_url": database_url,
        "issuer": deployment.issuer,
        "internal_url": issuer_url,
        "audience": demo.RESOURCE,
        "client_id": demo.SERVICE.client_id,
        "client_secret": demo.SERVICE_SECRET,
        **settings,
    }
    port = free_port()
    log = directory / f"orders-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "--factory",
                "orders.app:from_environment",
                "--port",
                str(port),
            ],
            env=deployment.env | {f"ORDERS_{name.upper()}": str(value) for name, value in given.items()},
            cwd=ORDERS,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log)
    try:
        wait_until_ready(server)
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill()
