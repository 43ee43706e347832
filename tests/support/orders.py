"""examples/orders as a process of its own, as a reader starts it."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from service.cli import demo
from service.embedded import ports
from tests.support.deployment import (
    Deployment,
    Server,
    drop_database,
    new_database,
    wait_until_ready,
)
from tests.support.pages import ROOT

ORDERS = ROOT / "examples" / "orders"


@contextmanager
def ordering(deployment: Deployment, issuer_url: str, **settings: object) -> Iterator[Server]:
    """Run it on a database of its own, with the issuer at `issuer_url`; `settings` are its own."""
    database_url = new_database(deployment.database_url)
    given = {
        "database_url": database_url,
        "issuer": deployment.issuer,
        "internal_url": issuer_url,
        "audience": demo.RESOURCE,
        "client_id": demo.SERVICE.client_id,
        "client_secret": demo.SERVICE_SECRET,
        **settings,
    }
    port = ports.choose()
    log = deployment.directory / f"orders-{port}.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "uvicorn",
                "--factory",
                "orders.app:from_environment",
                "--no-access-log",  # uvicorn's has the query, and with it the token that a test puts there
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
            process.wait(5)
        drop_database(deployment.database_url, database_url)
