"""Guards in a FastAPI application, by the issuer for tests."""

import operator
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from fastapi import Depends, FastAPI, HTTPException
from fastapi.testclient import TestClient

from sealwright import Claims
from sealwright.fastapi import Guard, Permit
from sealwright.testing import Issuer

AUDIENCE = "https://orders.example.com/v1"
METADATA = "/.well-known/oauth-protected-resource/v1"
WHERE = f'resource_metadata="https://orders.example.com{METADATA}"'


@dataclass
class Order:
    owner: str


async def owns(caller: Claims, order: Order) -> bool:
    return order.owner == caller.sub


def application(guard: Guard) -> FastAPI:
    app = FastAPI(lifespan=guard.lifespan)
    app.include_router(guard.router)

    @app.get("/me")
    def me(caller: Annotated[Claims, Depends(guard)]) -> str:
        return caller.sub

    @app.get("/orders")
    def orders(caller: Annotated[Claims, Depends(guard.scopes("orders:read", "orders:list"))]) -> str:
        return caller.sub

    @app.get("/admin", dependencies=[Depends(guard.roles("admin", "editor"))])
    def admin() -> str:
        return "admin"

    @app.get("/both", dependencies=[Depends(guard.scopes("orders:read") & guard.roles("admin"))])
    def both() -> str:
        return "both"

    changing = guard.scopes("orders:write") & (guard.roles("admin") | guard.allow(owns))

    @app.get("/orders/{owner}")
    async def order(owner: str, permit: Annotated[Permit, Depends(changing)]) -> str:
        if owner == "nobody":
            raise HTTPException(404)
        await permit(Order(owner))
        return permit.caller.sub

    @app.get("/forgotten")
    async def forgotten(permit: Annotated[Permit, Depends(changing)]) -> str:
        return permit.caller.sub

    return app


@pytest.fixture
def client(issuer: Issuer) -> Iterator[TestClient]:
    issuer.audience = AUDIENCE
    with TestClient(application(Guard(issuer.verifier(), development=True))) as made:
        yield made


@pytest.fixture
def get(client: TestClient, issuer: Issuer) -> Any:
    """Get a path with a token of these claims."""

    def send(path: str, **claims: Any) -> Any:
        return client.get(path, headers={"Authorization": f"Bearer {issuer.token(**claims)}"})

    return send


def test_a_good_token_gives_the_caller(get: Any) -> None:
    answer = get("/me", sub="alice")
    assert (answer.status_code, answer.json()) == (200, "alice")


def test_a_route_that_forgets_to_ask_its_permit_answers_nobody(get: Any) -> None:
    with pytest.raises(RuntimeError, match="await its permit"):
        get("/forgotten", scope="orders:write", roles=["admin"])
    assert get("/orders/nobody", scope="orders:write", roles=["admin"]).status_code == 404


def test_no_token_is_challenged_without_an_error(client: TestClient) -> None:
    for headers in ({}, {"Authorization": "Basic YTpi"}):
        answer = client.get("/me", headers=headers)
        assert answer.status_code == 401
        assert answer.headers["WWW-Authenticate"] == f'Bearer realm="{AUDIENCE}", {WHERE}'


def test_a_bad_token_is_challenged_and_never_repeated(client: TestClient, issuer: Issuer) -> None:
    for token in (issuer.token(aud="https://other.example.com"), issuer.token(lifetime=-60), "abc"):
        answer = client.get("/me", headers={"Authorization": f"Bearer {token}"})
        assert answer.status_code == 401
        challenge = answer.headers["WWW-Authenticate"]
        assert challenge.startswith(f'Bearer realm="{AUDIENCE}", error="invalid_token", error_description="')
        assert challenge.endswith(WHERE)
        assert token not in challenge + answer.text


@pytest.mark.parametrize("value", ["Bearer", "Bearer ", "Bearer a b", "Bearer ä"])
def test_what_is_no_bearer_token_is_a_bad_request(client: TestClient, value: str) -> None:
    answer = client.get("/me", headers={b"Authorization": value.encode()})
    assert answer.status_code == 400
    assert 'error="invalid_request"' in answer.headers["WWW-Authenticate"]


def test_two_authorization_headers_are_a_bad_request(client: TestClient, issuer: Issuer) -> None:
    value = f"Bearer {issuer.token()}"
    answer = client.get("/me", headers=[("Authorization", value), ("Authorization", value)])
    assert answer.status_code == 400


def test_all_scopes_are_needed_and_the_refusal_names_them(get: Any) -> None:
    assert get("/orders", scope="orders:read orders:list x").status_code == 200
    answer = get("/orders", scope="orders:read")
    assert answer.status_code == 403
    challenge = answer.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="orders:list orders:read"' in challenge


def test_one_of_the_roles_is_needed(get: Any) -> None:
    assert get("/admin", roles=["editor"]).status_code == 200
    answer = get("/admin", roles=["reader"])
    assert answer.status_code == 403
    assert "scope=" not in answer.headers["WWW-Authenticate"]


def test_rules_combine(get: Any) -> None:
    assert get("/both", scope="orders:read", roles=["admin"]).status_code == 200
    assert get("/both", scope="orders:read").status_code == 403
    assert get("/both", roles=["admin"]).status_code == 403


def test_a_policy_decides_with_the_resource_that_the_route_loaded(get: Any) -> None:
    assert get("/orders/alice", sub="alice", scope="orders:write").status_code == 200
    assert get("/orders/bob", sub="alice", scope="orders:write").status_code == 403
    assert get("/orders/bob", sub="alice", scope="orders:write", roles=["admin"]).status_code == 200
    assert get("/orders/alice", sub="alice").status_code == 403


def test_a_revoked_token_is_refused_and_an_outage_is_503_until_it_ends(
    client: TestClient, issuer: Issuer
) -> None:
    bearer = {"Authorization": f"Bearer {issuer.token(lifetime=3600)}"}
    assert client.get("/me", headers=bearer).status_code == 200
    with issuer.down():
        issuer.move_clock(31)
        answer = client.get("/me", headers=bearer)
        assert answer.status_code == 503
        assert int(answer.headers["Retry-After"]) >= 1
    assert client.get("/me", headers=bearer).status_code == 200
    issuer.revoke(sid="ses_1")
    assert client.get("/me", headers=bearer).status_code == 401


def test_the_metadata_is_where_the_challenge_says(client: TestClient, issuer: Issuer) -> None:
    assert client.get(METADATA).json() == {
        "resource": AUDIENCE,
        "authorization_servers": [issuer.url],
        "scopes_supported": ["orders:list", "orders:read", "orders:write"],
        "bearer_methods_supported": ["header"],
    }


def test_the_openapi_page_knows_each_routes_scopes(client: TestClient) -> None:
    page = client.get("/openapi.json").json()
    assert page["paths"]["/me"]["get"]["security"] == [{"Sealwright": []}]
    assert page["paths"]["/orders"]["get"]["security"] == [{"Sealwright": ["orders:list", "orders:read"]}]
    assert page["paths"]["/orders/{owner}"]["get"]["security"] == [{"Sealwright": ["orders:write"]}]
    flows = page["components"]["securitySchemes"]["Sealwright"]["flows"]
    assert set(flows) == {"password", "clientCredentials"}
    assert set(flows["password"]["scopes"]) == {"orders:list", "orders:read", "orders:write"}


def test_the_authorize_button_signs_in_at_the_same_origin_in_development(
    client: TestClient, issuer: Issuer
) -> None:
    page = client.get("/openapi.json").json()
    url = page["components"]["securitySchemes"]["Sealwright"]["flows"]["clientCredentials"]["tokenUrl"]
    answer = client.post(
        url,
        data={"grant_type": "client_credentials", "scope": "orders:read"},
        auth=(issuer.client_id, issuer.client_secret),
    )
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert client.get("/me", headers=bearer).json() == issuer.client_id


def test_nothing_signs_in_here_in_production(issuer: Issuer) -> None:
    with TestClient(application(Guard(issuer.verifier()))) as client:
        assert client.post("/.sealwright/token", data={"grant_type": "password"}).status_code == 404
        flows = client.get("/openapi.json").json()["components"]["securitySchemes"]["Sealwright"]["flows"]
        assert flows["password"]["tokenUrl"] == f"{issuer.url}/token"


def test_requirements_of_two_guards_cannot_be_combined(issuer: Issuer) -> None:
    one, other = (Guard(issuer.verifier()) for _ in range(2))
    for combine in (operator.and_, operator.or_):
        with pytest.raises(ValueError, match="two guards"):
            combine(one.scopes("a"), other.scopes("b"))
