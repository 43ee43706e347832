"""The contract: what the service refuses, a resource service on the library refuses, a process of its own."""

from collections.abc import Iterator

import httpx2
import pytest

from service.cli import demo
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, bearer
from tests.support.deployment import Deployment, Server
from tests.support.forging import ACCESS, Forge
from tests.support.orders import ordering
from tests.support.refusals import LogTail, assert_no_echo
from tests.support.revoking import new_token, status

UNREADABLE = {"beyond ASCII"}
"""What no bearer token can look like (RFC 6750 2.1): a bad request, and not a bad token."""


@pytest.fixture(scope="module")
def orders(deployment: Deployment, server: Server) -> Iterator[Server]:
    with ordering(deployment, server.url) as running:
        yield running


@pytest.fixture
def shop(orders: Server) -> Iterator[httpx2.Client]:
    tail = LogTail(orders.log)
    with httpx2.Client(base_url=orders.url, timeout=20) as client:
        yield client
    tail.assert_clean()


@pytest.fixture(scope="module")
def forge(deployment: Deployment, server: Server) -> Forge:
    made = Forge(deployment)
    with httpx2.Client(base_url=server.url, timeout=20) as http:
        made.session = Api(http).sign_in(Actors(deployment).user().username, PASSWORD)
    return made


def test_what_the_forge_makes_well_both_take(api: Api, shop: httpx2.Client, forge: Forge) -> None:
    for token in (forge.genuine(forge.payload), forge.with_header(forge.payload)):
        assert api.me(token).status_code == 200
        assert status(shop, token) == 200


@pytest.mark.parametrize("case", ACCESS)
def test_both_refuse(api: Api, shop: httpx2.Client, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)
    header = [(b"Authorization", f"Bearer {token}".encode())]

    by_the_service = api.http.get("/me", headers=header)
    by_orders = shop.get("/reports", headers=header)

    assert by_the_service.status_code == 401
    assert by_orders.status_code == (400 if case in UNREADABLE else 401), by_orders.text
    error = "invalid_request" if case in UNREADABLE else "invalid_token"
    assert f'error="{error}"' in by_orders.headers["www-authenticate"]
    assert_no_echo(by_orders, token)


def test_a_token_for_the_issuer_alone_opens_nothing_elsewhere(
    api: Api, shop: httpx2.Client, deployment: Deployment
) -> None:
    own = api.sign_in(resource=deployment.issuer)

    assert api.me(own.access).status_code == 200
    assert status(shop, own.access) == 401


def test_a_token_for_another_resource_opens_nothing_here(shop: httpx2.Client, forge: Forge) -> None:
    for aud in ("http://localhost:8002", f"{demo.RESOURCE}/", demo.RESOURCE.upper(), ["a", "b"]):
        assert status(shop, forge.genuine(forge.payload | {"aud": aud})) == 401


def test_a_programs_own_token_gives_it_no_users_role(api: Api, shop: httpx2.Client) -> None:
    token = new_token(api.http)

    made = shop.post("/orders", json={"item": "tea", "quantity": 1}, headers=bearer(token))

    assert status(shop, token) == 200
    assert made.status_code == 403


def test_a_token_anywhere_but_in_the_header_is_not_looked_for(shop: httpx2.Client, forge: Forge) -> None:
    token = forge.session.access

    assert shop.get("/reports", params={"access_token": token}).status_code == 401
    assert shop.get("/reports", headers={"Cookie": f"access_token={token}"}).status_code == 401
    twice = [("Authorization", f"Bearer {token}"), ("Authorization", f"Bearer {token}")]
    assert shop.get("/reports", headers=twice).status_code == 400
