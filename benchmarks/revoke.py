"""How soon a revoked token is refused in another process, and what 100,000 revocations in force cost.

`make bench-revoke`. The service, two workers, and examples/orders, each a process of its own, over HTTP.
"""

import time

import httpx2

from benchmarks.stack import prepared
from tests.support.database import sql
from tests.support.deployment import Server
from tests.support.orders import ordering
from tests.support.processes import resident
from tests.support.revoking import MANY, milliseconds, new_token, seconds_until_refused, snapshot, status

REVOKED = 500
IN_FORCE = 100_000
REQUESTS = 3_000
ANEW = 1.1
"""Seconds after which a snapshot is not the one of before."""


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
    return f"{resident(server.process.pid) / 1e6:.0f} MB"


def main() -> None:
    """Measure, and print."""
    with (
        prepared({}, hashes=False) as ground,
        ground.serving() as stack,
        client(stack.server) as http,
    ):
        made, issuer = stack.deployment, stack.server
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
