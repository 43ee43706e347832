"""How soon a revoked token is refused in another process, and what 100,000 revocations in force cost.

`make bench-revoke`. The service, two workers, and examples/orders, each a process of its own, over HTTP.
"""

import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2

from tests.support.database import sql
from tests.support.deployment import Deployment, Server, new_database
from tests.support.orders import ordering
from tests.support.revoking import MANY, milliseconds, new_token, seconds_until_refused, snapshot, status
from tests.support.servers import running

REVOKED = 500
IN_FORCE = 100_000
REQUESTS = 3_000
ANEW = 1.1
"""Seconds after which a snapshot is not the one of before."""


@contextmanager
def deployed() -> Iterator[tuple[Deployment, Server]]:
    """Run the service."""
    with tempfile.TemporaryDirectory() as folder, running(None, None) as urls:
        made = Deployment(new_database(urls.database), urls.redis, Path(folder), "http://localhost:8000")
        made.prepare()
        with made.serving(workers=2) as server:
            yield made, server


def client(server: Server) -> httpx2.Client:
    """Return a client with one connection and much patience."""
    return httpx2.Client(base_url=server.url, timeout=60)


def requests(issuer: httpx2.Client, resource: httpx2.Client) -> str:
    """Say how long a request takes, its token verified."""
    token = new_token(issuer)
    taken = []
    for _ in range(REQUESTS):
        began = time.perf_counter()
        assert status(resource, token) == 200
        taken.append(time.perf_counter() - began)
    return milliseconds(taken)


def memory(server: Server) -> str:
    """Say what a process holds."""
    seen = subprocess.run(
        ["ps", "-o", "rss=", "-p", str(server.process.pid)], capture_output=True, text=True, check=True
    )
    return f"{int(seen.stdout) / 1024:.0f} MiB"


def main() -> None:
    """Measure, and print."""
    with deployed() as (made, issuer), client(issuer) as http:
        with ordering(made, issuer.url) as orders, client(orders) as shop:
            taken = list(seconds_until_refused(http, shop, REVOKED))
            print(f"revoked, then refused in another process   {milliseconds(taken)}")
            print(f"a request to orders                        {requests(http, shop)}")
            print(f"memory of orders                           {memory(orders)}")

            sql(made.database_url, MANY, IN_FORCE)
            began = time.monotonic()
            assert list(seconds_until_refused(http, shop, 1))  # what is told after all of them
            print(f"\n{IN_FORCE:,} more in force, held by orders in  {time.monotonic() - began:.1f} s")
            with client(issuer) as another:
                first, *later = (snapshot(another, IN_FORCE, pause=ANEW) for _ in range(6))
            print(f"the first snapshot of a worker             {first * 1000:.0f} ms")
            print(f"each later one, made anew                  {milliseconds(later)}")
            taken = list(seconds_until_refused(http, shop, REVOKED // 5))
            print(f"revoked, then refused in another process   {milliseconds(taken)}")
            print(f"a request to orders                        {requests(http, shop)}")
            print(f"memory of orders                           {memory(orders)}")

        began = time.monotonic()
        with ordering(made, issuer.url) as orders:
            print(
                f"orders, started with them in force         {time.monotonic() - began:.1f} s, {memory(orders)}"
            )


if __name__ == "__main__":
    main()
