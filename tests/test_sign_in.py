"""POST /token with a password."""

import httpx2

from tests.support.client import Api


def test_a_user_signs_in_and_gets_both_tokens(api: Api) -> None:
    answer = api.sign_in()

    assert answer.body["token_type"] == "Bearer"
    assert answer.body["scope"] == "account orders:read orders:write"
    assert answer.claims["aud"] == ["http://localhost:8000", "http://localhost:8001"]
    assert api.is_alive(answer.access)


def test_an_email_signs_in_as_well(api: Api) -> None:
    assert api.sign_in("Alice@Example.com").claims["roles"] == ["editor"]


def test_tokens_are_never_stored_by_a_cache(http: httpx2.Client) -> None:
    answer = http.post("/token", data={"grant_type": "password"})

    assert answer.headers["cache-control"] == "no-store"
