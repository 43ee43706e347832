"""The OpenAPI page: valid, whole, and its examples work; in development mode only."""

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from fastapi.openapi.models import OpenAPI

from service.errors import OAUTH_PATHS
from service.http import FORM, JSON
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, bearer
from tests.support.deployment import Deployment
from tests.support.refusals import assert_problem

Node = dict[str, Any]

ENDPOINTS = {
    ("post", "/token"),
    ("post", "/refresh"),
    ("post", "/revoke"),
    ("post", "/introspect"),
    ("get", "/revocations"),
    ("post", "/logout"),
    ("post", "/logout/all"),
    ("get", "/sessions"),
    ("delete", "/sessions/{sid}"),
    ("get", "/me"),
    ("post", "/me/password"),
    ("get", "/.well-known/jwks.json"),
    ("get", "/.well-known/oauth-authorization-server"),
    ("get", "/.well-known/openid-configuration"),
    ("get", "/healthz"),
    ("get", "/readyz"),
}
BEARER = {"/logout", "/logout/all", "/sessions", "/sessions/{sid}", "/me", "/me/password"}
CLIENT = {"client_id", "client_secret", "client_assertion_type", "client_assertion"}

FIELDS = {
    "/token": {
        "grant_type",
        "username",
        "password",
        "refresh_token",
        "scope",
        "resource",
        *CLIENT,
    },
    "/refresh": {"refresh_token", "scope", "resource", *CLIENT},
    "/revoke": {"token", "token_type_hint", *CLIENT},
    "/introspect": {"token", "token_type_hint", *CLIENT},
    "/me/password": {"current_password", "new_password"},
}
ERRORS = {
    "/token": {
        "invalid_request",
        "invalid_client",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "invalid_target",
        "temporarily_unavailable",
    },
    "/revoke": {"invalid_request", "invalid_client", "invalid_grant", "temporarily_unavailable"},
    "/introspect": {"invalid_request", "invalid_client", "temporarily_unavailable"},
    "/me": {"invalid_token", "insufficient_scope"},
}
ERRORS["/refresh"] = ERRORS["/token"]


@pytest.fixture
def page(http: httpx2.Client) -> Node:
    answer = http.get("/openapi.json")
    assert answer.status_code == 200
    page: Node = answer.json()
    return page


def operations(page: Node) -> Iterator[tuple[str, str, Node]]:
    for path, item in page["paths"].items():
        for method, operation in item.items():
            yield method, path, operation


def contents(operation: Node) -> Iterator[Node]:
    """Every media type of the request and of the answers."""
    yield from operation.get("requestBody", {}).get("content", {}).values()
    for response in operation["responses"].values():
        yield from response.get("content", {}).values()


def examples(content: Node) -> list[Any]:
    one = [content["example"]] if "example" in content else []
    return one + [example["value"] for example in content.get("examples", {}).values()]


def test_the_page_is_valid_openapi_3_1(page: Node) -> None:
    assert page["openapi"].startswith("3.1")
    OpenAPI.model_validate(page)
    assert "$ref" not in json.dumps(page)
    schemes = page["components"]["securitySchemes"]
    ids = [operation["operationId"] for _, _, operation in operations(page)]
    assert len(set(ids)) == len(ids)
    for _, path, operation in operations(page):
        assert operation["summary"]
        assert all(response["description"] for response in operation["responses"].values())
        assert {name for way in operation.get("security", ()) for name in way} <= set(schemes)
        in_path = {p["name"] for p in operation.get("parameters", ()) if p["in"] == "path"}
        assert in_path == {part.strip("{}") for part in path.split("/") if part.startswith("{")}


def test_every_endpoint_is_there_and_no_other(page: Node) -> None:
    assert {(method, path) for method, path, _ in operations(page)} == ENDPOINTS


def test_every_field_is_there_with_what_it_is_for(page: Node) -> None:
    for path, fields in FIELDS.items():
        for media_type, content in page["paths"][path]["post"]["requestBody"]["content"].items():
            assert media_type in {FORM, JSON}
            assert set(content["schema"]["properties"]) == fields
            assert set(content["schema"]["required"]) <= fields
            if path in OAUTH_PATHS:
                assert all(
                    f.get("description") or f.get("enum") for f in content["schema"]["properties"].values()
                )


def test_every_error_is_there(page: Node) -> None:
    for path, codes in ERRORS.items():
        (operation,) = page["paths"][path].values()
        told = {
            example["error"]
            for status, response in operation["responses"].items()
            if status != "200"
            for content in response.get("content", {}).values()
            for example in examples(content)
            if "error" in example
        }
        assert told == codes, path
    for _, path, operation in operations(page):
        if path in BEARER:
            assert {"401", "403", "503"} <= set(operation["responses"])
            assert operation["security"] == [{"bearer": []}]
        if path in OAUTH_PATHS:
            assert {"400", "401", "413", "415", "503"} <= set(operation["responses"])
            assert operation["security"] == [{"basic": []}, {}]


def test_the_frameworks_own_422_is_nowhere(page: Node) -> None:
    assert "422" not in json.dumps(page)
    assert "HTTPValidationError" not in json.dumps(page)


def test_answers_without_a_body_say_so(page: Node) -> None:
    assert "content" not in page["paths"]["/revoke"]["post"]["responses"]["200"]
    for method, path in (("post", "/logout"), ("post", "/logout/all"), ("delete", "/sessions/{sid}")):
        responses = page["paths"][path][method]["responses"]
        assert "content" not in responses["204"]
        assert "200" not in responses


def test_every_example_is_of_its_schema(page: Node) -> None:
    for _, path, operation in operations(page):
        for content in contents(operation):
            for example in examples(content):
                assert_of_schema(example, content.get("schema", {}), path)


def assert_of_schema(value: Any, schema: Node, where: str) -> None:
    """As much of JSON Schema as the page uses."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "object": dict,
        "array": list,
        "string": str,
        "integer": int,
        "number": (int, float),
        "boolean": bool,
        "null": type(None),
    }
    types = schema.get("type", [])
    for_one = [types] if isinstance(types, str) else types
    assert not for_one or any(isinstance(value, kinds[name]) for name in for_one), (where, value)
    assert value == schema.get("const", value), (where, value)
    assert value in schema.get("enum", [value]), (where, value)
    if isinstance(value, dict):
        assert set(schema.get("required", ())) <= set(value), (where, value)
        for name, member in value.items():
            assert_of_schema(member, schema.get("properties", {}).get(name, {}), f"{where}: {name}")
    if isinstance(value, list):
        for item in value:
            assert_of_schema(item, schema.get("items", {}), where)


def test_the_examples_of_getting_tokens_work(page: Node, http: httpx2.Client) -> None:
    content = page["paths"]["/token"]["post"]["requestBody"]["content"][FORM]
    worked: dict[str, Node] = {}
    for name, example in content["examples"].items():
        form = example["value"]
        if form["grant_type"] == "refresh_token":
            form = form | {"refresh_token": worked["a user signs in"]["refresh_token"]}
        answer = http.post("/token", data=form)
        assert answer.status_code == 200, (name, answer.text)
        worked[name] = answer.json()

    documented = page["paths"]["/token"]["post"]["responses"]["200"]["content"][JSON]
    for body in worked.values():
        assert_of_schema(body, documented["schema"], "/token")
    assert set(worked["a user signs in"]) == set(documented["example"])


def test_the_examples_with_a_token_work_with_a_live_one(page: Node, api: Api) -> None:
    def form(path: str, media_type: str, name: str) -> Node:
        value: Node = page["paths"][path]["post"]["requestBody"]["content"][media_type]["examples"][name][
            "value"
        ]
        return value

    session = api.sign_in()
    for media_type, kind in ((JSON, "json"), (FORM, "data")):
        body = form("/refresh", media_type, "refresh") | {"refresh_token": session.refresh}
        answer = api.http.request("POST", "/refresh", **{kind: body})  # type: ignore[arg-type]  # either
        assert answer.status_code == 200, answer.text
    seen = api.http.post("/introspect", data=form("/introspect", FORM, "token") | {"token": session.access})
    assert seen.json()["active"]
    documented = page["paths"]["/introspect"]["post"]["responses"]["200"]["content"][JSON]
    assert_of_schema(seen.json(), documented["schema"], "/introspect")
    own = api.http.post(
        "/token",
        data={"grant_type": "client_credentials"},
        auth=("demo-service", "demo-service-secret"),
    ).json()["access_token"]
    assert api.http.post("/revoke", data=form("/revoke", FORM, "token") | {"token": own}).status_code == 200


def test_the_answers_of_the_account_are_those_of_the_page(page: Node, api: Api, actors: Actors) -> None:
    headers = bearer(api.sign_in(actors.user().username, PASSWORD).access)

    bodies = {path: api.http.get(path, headers=headers).json() for path in ("/me", "/sessions")}
    for path, body in bodies.items():
        documented = page["paths"][path]["get"]["responses"]["200"]["content"][JSON]
        assert_of_schema(body, documented["schema"], path)
        assert set(body) == set(documented["example"])
    shown = page["paths"]["/sessions"]["get"]["responses"]["200"]["content"][JSON]["example"]["sessions"][0]
    assert set(bodies["/sessions"]["sessions"][0]) == set(shown)
    example = page["paths"]["/me/password"]["post"]["requestBody"]["content"][JSON]["examples"]["change"][
        "value"
    ]
    changed = api.http.post("/me/password", json=example | {"current_password": PASSWORD}, headers=headers)
    assert set(changed.json()) == {"sessions_ended"}


def test_the_page_can_be_read_in_a_browser(http: httpx2.Client) -> None:
    answer = http.get("/docs")

    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")


def test_in_production_there_is_no_page(deployment: Deployment) -> None:
    production = deployment.having(environment="production", issuer="https://auth.example.com")

    with production.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        for path in ("/docs", "/openapi.json", "/redoc", "/docs/oauth2-redirect"):
            assert_problem(http.get(path), 404)
        metadata = http.get("/.well-known/oauth-authorization-server").json()
        assert metadata["issuer"] == "https://auth.example.com"
        assert "service_documentation" not in metadata
