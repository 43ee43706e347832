"""Who may do what with orders, without a server of the issuer."""

from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from orders.app import build
from orders.settings import Settings
from sealwright.testing import Issuer

TEA = {"item": "tea", "quantity": 2}


class Caller:
    """Sends requests as one user."""

    def __init__(self, api: TestClient, issuer: Issuer, sub: str, *roles: str, scope: str) -> None:
        self.token = issuer.token(sub=sub, roles=list(roles), scope=scope)
        self._api = api

    def __call__(self, method: str, path: str, json: Any = None) -> httpx2.Response:
        return self._api.request(method, path, json=json, headers={"Authorization": f"Bearer {self.token}"})

    def order(self) -> str:
        answer = self("POST", "/orders", TEA)
        assert answer.status_code == 201, answer.text
        made: str = answer.json()["id"]
        return made


@pytest.fixture
def alice(api: TestClient, issuer: Issuer) -> Caller:
    return Caller(api, issuer, "usr_alice", "editor", scope="orders:read orders:write")


@pytest.fixture
def bob(api: TestClient, issuer: Issuer) -> Caller:
    return Caller(api, issuer, "usr_bob", "editor", scope="orders:read orders:write")


@pytest.fixture
def admin(api: TestClient, issuer: Issuer) -> Caller:
    return Caller(api, issuer, "usr_root", "admin", scope="orders:read orders:write")


@pytest.fixture
def reader(api: TestClient, issuer: Issuer) -> Caller:
    """An editor's token that may only read."""
    return Caller(api, issuer, "usr_alice", "editor", scope="orders:read")


@pytest.fixture
def visitor(api: TestClient, issuer: Issuer) -> Caller:
    """Signed in, and nothing else."""
    return Caller(api, issuer, "usr_carol", scope="")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/orders"),
        ("POST", "/orders"),
        ("PUT", "/orders/00000000-0000-4000-8000-000000000000"),
        ("DELETE", "/orders/00000000-0000-4000-8000-000000000000"),
        ("GET", "/reports"),
    ],
)
def test_nothing_is_open_to_a_caller_without_a_token(api: TestClient, method: str, path: str) -> None:
    answer = api.request(method, path, json=TEA)

    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer ")


def test_the_scope_opens_the_list(reader: Caller, alice: Caller, visitor: Caller) -> None:
    order = alice.order()

    listed = reader("GET", "/orders").json()
    refused = visitor("GET", "/orders")

    assert [(one["id"], one["author"], one["item"]) for one in listed] == [(order, "usr_alice", "tea")]
    assert refused.status_code == 403
    assert 'scope="orders:read"' in refused.headers["www-authenticate"]


def test_the_latest_come_first_and_no_more_than_asked_for(alice: Caller) -> None:
    orders = [alice.order() for _ in range(3)]

    listed = alice("GET", "/orders?limit=2").json()

    assert [one["id"] for one in listed] == [orders[2], orders[1]]
    assert alice("GET", "/orders?limit=1000").status_code == 422


def test_creating_takes_the_scope_and_the_role(api: TestClient, issuer: Issuer, reader: Caller) -> None:
    without_role = Caller(api, issuer, "usr_dan", scope="orders:write")

    assert reader("POST", "/orders", TEA).status_code == 403
    assert without_role("POST", "/orders", TEA).status_code == 403


@pytest.mark.parametrize("wrong", [{"quantity": 0}, {"quantity": "many"}, {"item": ""}, {"item": "a\0"}])
def test_an_order_that_is_none_is_refused(alice: Caller, wrong: dict[str, object]) -> None:
    assert alice("POST", "/orders", TEA | wrong).status_code == 422


def test_only_the_author_or_an_admin_edits(alice: Caller, bob: Caller, admin: Caller, reader: Caller) -> None:
    order = alice.order()

    by_the_author = alice("PUT", f"/orders/{order}", {"item": "tea", "quantity": 3})
    by_another = bob("PUT", f"/orders/{order}", TEA)
    without_the_scope = reader("PUT", f"/orders/{order}", TEA)
    by_an_admin = admin("PUT", f"/orders/{order}", {"item": "tea", "quantity": 4})

    assert (by_the_author.status_code, by_the_author.json()["quantity"]) == (200, 3)
    assert by_another.status_code == 403
    assert without_the_scope.status_code == 403
    assert (by_an_admin.status_code, by_an_admin.json()["quantity"]) == (200, 4)
    assert by_an_admin.json()["author"] == "usr_alice"
    assert alice("PUT", "/orders/00000000-0000-4000-8000-000000000000", TEA).status_code == 404


def test_only_an_admin_deletes(alice: Caller, admin: Caller) -> None:
    order = alice.order()

    by_the_author = alice("DELETE", f"/orders/{order}")
    by_an_admin = admin("DELETE", f"/orders/{order}")
    again = admin("DELETE", f"/orders/{order}")

    assert [answer.status_code for answer in (by_the_author, by_an_admin, again)] == [403, 204, 404]


def test_reports_are_for_whoever_is_signed_in(alice: Caller, visitor: Caller) -> None:
    alice.order()
    alice.order()

    assert visitor("GET", "/reports").json() == [{"item": "tea", "orders": 2, "quantity": 4}]


def test_who_signed_out_is_refused_at_once(issuer: Issuer, alice: Caller, bob: Caller) -> None:
    assert alice("GET", "/reports").status_code == 200

    issuer.revoke(sub="usr_alice")

    assert alice("GET", "/reports").status_code == 401
    assert bob("GET", "/reports").status_code == 200


def test_it_is_ready_while_the_issuer_is_away(api: TestClient, issuer: Issuer) -> None:
    with issuer.down():
        issuer.clock.move(60)
        answer = api.get("/readyz")

    assert answer.status_code == 200
    assert answer.json() == {"database": "ok", "tokens": "introspect", "keys": 1}


def test_it_is_not_ready_before_there_are_keys(settings: Settings, issuer: Issuer) -> None:
    with issuer.down(), TestClient(build(settings, issuer.verifier())) as api:
        assert api.get("/healthz").status_code == 200
        assert api.get("/readyz").status_code == 503
