"""examples/orders against the real service: each a process of its own, over HTTP."""

import ast
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import sqlalchemy as sa

from service.cli import demo
from tests.support.actors import PASSWORD, VISITOR, Actors
from tests.support.client import Api, bearer
from tests.support.deployment import Deployment, Server
from tests.support.orders import ORDERS, ordering
from tests.support.processes import eventually
from tests.support.relay import relayed

TEA = {"item": "tea", "quantity": 2}


@pytest.fixture(scope="module")
def orders(deployment: Deployment, server: Server) -> Iterator[Server]:
    with ordering(deployment, server.url, development=True) as running:
        yield running


@pytest.fixture
def shop(orders: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=orders.url, timeout=20) as client:
        yield client


def test_an_order_from_signing_in_to_signing_out(api: Api, shop: httpx2.Client, actors: Actors) -> None:
    alice = api.sign_in()
    root = api.sign_in(demo.ROOT.username)
    visitor = api.sign_in(actors.user(VISITOR).username, PASSWORD)

    made = shop.post("/orders", json=TEA, headers=bearer(alice.access))
    order = f"/orders/{made.json()['id']}"

    assert made.status_code == 201
    assert made.json()["author"] == alice.claims["sub"]
    assert shop.get("/orders", headers=bearer(visitor.access)).status_code == 403
    assert shop.put(order, json=TEA | {"quantity": 3}, headers=bearer(alice.access)).status_code == 200
    assert shop.delete(order, headers=bearer(alice.access)).status_code == 403
    assert shop.get("/reports", headers=bearer(visitor.access)).json() == [
        {"item": "tea", "orders": 1, "quantity": 3}
    ]
    assert shop.delete(order, headers=bearer(root.access)).status_code == 204

    assert api.http.post("/logout", headers=bearer(alice.access)).status_code == 204
    eventually(lambda: shop.get("/orders", headers=bearer(alice.access)).status_code == 401, within=10)
    assert shop.get("/orders", headers=bearer(root.access)).status_code == 200


def test_the_openapi_page_can_sign_in_at_it_in_development(shop: httpx2.Client) -> None:
    [scheme] = shop.get("/openapi.json").json()["components"]["securitySchemes"].values()
    signed_in = shop.post(
        scheme["flows"]["password"]["tokenUrl"],
        data={"grant_type": "password", "username": demo.ALICE.username, "password": demo.PASSWORD},
        auth=(demo.SERVICE.client_id, demo.SERVICE_SECRET),
    )

    assert shop.get("/orders", headers=bearer(signed_in.json()["access_token"])).status_code == 200


def test_a_database_that_is_away_is_a_503_and_heals(
    deployment: Deployment, server: Server, api: Api, empty_database: str
) -> None:
    token = api.sign_in().access
    with relayed(empty_database) as relay:
        there = sa.make_url(empty_database).set(host="127.0.0.1", port=relay.server_address[1])
        url = there.render_as_string(hide_password=False)
        with (
            ordering(deployment, server.url, database_url=url) as running,
            httpx2.Client(base_url=running.url, timeout=20) as shop,
        ):
            assert shop.get("/orders", headers=bearer(token)).status_code == 200

            relay.cut()
            for path in ("/orders", "/orders", "/readyz"):
                away = shop.get(path, headers=bearer(token))
                assert (away.status_code, away.headers["retry-after"]) == (503, "1")
            assert shop.get("/healthz").status_code == 200

            relay.mend()
            assert shop.get("/orders", headers=bearer(token)).status_code == 200


@pytest.mark.parametrize("file", sorted(ORDERS.rglob("*.py")), ids=lambda file: file.name)
def test_it_knows_nothing_of_the_service(file: Path) -> None:
    imported = {
        name.partition(".")[0]
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in (
            [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        )
    }

    assert not imported & {"service", "tests"}
