"""The JWKS and the metadata: public, cacheable, exact."""

import base64
import json

import httpx2
import pytest

from sealwright import KeySet
from service.metadata import JWKS_PATH, PATHS
from tests.support.client import SERVICE_AUTH, Api
from tests.support.deployment import Deployment


def test_the_jwks_holds_public_keys_alone(http: httpx2.Client, api: Api) -> None:
    answer = http.get(JWKS_PATH)

    assert answer.headers["content-type"] == "application/json"
    for jwk in answer.json()["keys"]:
        assert set(jwk) == {"kty", "n", "e", "use", "alg", "kid"}
    header = json.loads(base64.urlsafe_b64decode(api.sign_in().access.partition(".")[0] + "=="))
    assert header["kid"] in KeySet.from_jwks(answer.content)


def test_the_jwks_may_be_kept_and_asked_for_again(http: httpx2.Client, deployment: Deployment) -> None:
    first = http.get(JWKS_PATH)
    etag = first.headers["etag"]
    max_age = int(deployment.settings.jwks_max_age.total_seconds())

    assert etag.startswith('"')
    assert first.headers["cache-control"] == f"public, max-age={max_age}"
    for known in (etag, f"W/{etag}", f'"other", {etag}', "*"):
        again = http.get(JWKS_PATH, headers={"If-None-Match": known})
        assert (again.status_code, again.content) == (304, b"")
        assert again.headers["etag"] == etag
        assert again.headers["cache-control"] == first.headers["cache-control"]
    for unknown in ('"other"', etag.strip('"'), ""):
        assert http.get(JWKS_PATH, headers={"If-None-Match": unknown}).content == first.content


def test_every_worker_has_the_same_jwks(http: httpx2.Client) -> None:
    answers = [http.get(JWKS_PATH, headers={"Connection": "close"}) for _ in range(8)]

    assert len({(answer.content, answer.headers["etag"]) for answer in answers}) == 1


@pytest.mark.parametrize("path", [JWKS_PATH, *PATHS])
def test_head_tells_what_get_would(http: httpx2.Client, path: str) -> None:
    got, head = http.get(path), http.head(path)

    assert (head.status_code, head.content) == (200, b"")
    each = {"date": "", "x-request-id": ""}
    assert {**head.headers, **each} == {**got.headers, **each}
    assert int(head.headers["content-length"]) == len(got.content)


@pytest.mark.parametrize("path", [JWKS_PATH, *PATHS])
def test_any_page_of_any_origin_may_read_the_documents(http: httpx2.Client, path: str) -> None:
    for headers in ({}, {"Origin": "https://app.example"}, {"Authorization": "Bearer junk"}):
        answer = http.get(path, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


def test_nothing_else_may_be_read_by_a_page_of_another_origin(http: httpx2.Client) -> None:
    for method, path in (("POST", "/token"), ("GET", "/me"), ("GET", "/healthz"), ("OPTIONS", "/token")):
        answer = http.request(method, path, headers={"Origin": "https://app.example"})
        assert "access-control-allow-origin" not in answer.headers


def test_the_metadata_is_what_rfc_8414_asks_for(http: httpx2.Client, deployment: Deployment) -> None:
    first, second = (http.get(path) for path in PATHS)
    metadata = first.json()
    issuer = deployment.issuer

    assert first.content == second.content
    assert first.headers["content-type"] == "application/json"
    assert metadata["issuer"] == issuer
    assert metadata["response_types_supported"] == []  # required (RFC 8414 2), and there is none yet
    assert metadata["jwks_uri"] == issuer + JWKS_PATH
    assert metadata["grant_types_supported"] == ["password", "client_credentials", "refresh_token"]
    assert "none" not in metadata["introspection_endpoint_auth_methods_supported"]
    for name in ("token_endpoint", "revocation_endpoint", "introspection_endpoint"):
        methods = metadata[f"{name}_auth_methods_supported"]
        assert {"client_secret_basic", "client_secret_post"} <= set(methods)
        path = metadata[name].removeprefix(issuer)
        assert http.post(
            path, data={"token": "x", "grant_type": "client_credentials"}, auth=SERVICE_AUTH
        ).is_success
    assert not {value for value in metadata.values() if value is None}


def test_the_issuer_of_the_metadata_is_the_iss_of_every_token(http: httpx2.Client, api: Api) -> None:
    assert http.get(PATHS[0]).json()["issuer"] == api.sign_in().claims["iss"]
