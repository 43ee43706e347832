"""The contract: a revoked token is refused in another process at once, and nobody is asked about a token."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.client import Api
from tests.support.database import sql
from tests.support.deployment import Deployment, Server, drop_database, new_database
from tests.support.orders import ordering
from tests.support.processes import eventually
from tests.support.relay import Relay, relayed
from tests.support.revoking import MANY, milliseconds, new_token, seconds_until_refused, snapshot, status

REVOKED = 30
WITHIN = 2.0
"""Seconds, on a machine that runs other tests as well; `make bench-revoke` measures the promise, 250 ms."""


IN_FORCE = 100_000
SNAPSHOT = 2.0
"""Seconds, likewise; the promise is 1 s."""


@pytest.fixture(scope="module")
def relay(server: Server) -> Iterator[Relay]:
    with relayed(server.url) as made:
        yield made


@pytest.fixture(scope="module")
def orders(deployment: Deployment, relay: Relay) -> Iterator[Server]:
    # Its feed is asked again after 60 s, or as soon as it was answered.
    with ordering(deployment, relay.url, max_feed_age=180) as running:
        yield running


@pytest.fixture
def shop(orders: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=orders.url, timeout=20) as client:
        yield client


def test_a_revoked_token_is_refused_in_another_process_at_once(
    http: httpx2.Client, shop: httpx2.Client
) -> None:
    taken = list(seconds_until_refused(http, shop, REVOKED))

    assert max(taken) < WITHIN, milliseconds(taken)


def test_no_request_makes_a_resource_service_ask_anybody(
    http: httpx2.Client, api: Api, shop: httpx2.Client, relay: Relay
) -> None:
    tokens = [api.sign_in().access for _ in range(5)]
    # An answer of the feed has just been taken, and the next question is on its way: for a minute, all is quiet.
    before = relay.sent
    assert list(seconds_until_refused(http, shop, 1))
    eventually(lambda: relay.sent > before, within=20)
    forged = new_token(http) + "x"
    before = relay.sent

    for token in tokens * 40:
        assert status(shop, token) == 200
        assert status(shop, forged) == 401

    assert relay.sent == before


@pytest.fixture
def another(server_urls: tuple[str, str], tmp_path: Path) -> Iterator[Deployment]:
    """A deployment that may be filled up."""
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path, "http://localhost:8000")
    made.prepare()
    yield made
    drop_database(server_urls[0], url)


def test_a_hundred_thousand_revocations_in_force_hold_nobody_up(another: Deployment) -> None:
    with (
        another.serving(workers=1) as issuer,
        ordering(another, issuer.url) as orders,
        httpx2.Client(base_url=issuer.url, timeout=60) as http,
        httpx2.Client(base_url=orders.url, timeout=60) as shop,
    ):
        sql(another.database_url, MANY, IN_FORCE)

        # What is revoked after them is told after them: once it is refused, all of them are known.
        assert list(seconds_until_refused(http, shop, 1))
        took = min(snapshot(http, IN_FORCE) for _ in range(3))
        late = max(seconds_until_refused(http, shop, 5))

    assert took < SNAPSHOT
    assert late < WITHIN
