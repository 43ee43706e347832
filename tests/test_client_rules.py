"""What may be registered as a client, a scope or a resource."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.clients.rules import NotAllowed, check_client, check_resource, check_scopes, check_secret
from service.clients.store import new_secret

ISSUER = "https://auth.example.com"

PLAIN: dict[str, Any] = {
    "public": False,
    "grant_types": ["client_credentials"],
    "first_party": False,
    "scopes": ["orders:read"],
    "default_scopes": [],
    "resources": ["https://orders.example.com"],
    "default_resources": [],
}


@pytest.mark.parametrize(
    "uri",
    [
        "https://orders.example.com",
        "https://orders.example.com:8443/v1/?tenant=a%20b",
        "http://localhost:8001",
        "http://[::1]:8001/",
        "urn:example:orders",
        "HTTPS://ORDERS.example.com",
    ],
)
def test_an_absolute_uri_can_be_a_resource(uri: str) -> None:
    check_resource(uri, ["orders:read"], ISSUER)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "orders",
        "/orders",
        "//orders.example.com",
        "https:",
        "https://",
        "https:///orders",
        "http://[::1",
        "https://orders.example.com#fragment",
        "https://orders.example.com/a b",
        "https://orders.example.com/\n",
        "https://orders.example.com/%zz",
        "https://örders.example.com",
        "urn:",
        "https://orders.example.com/" + "x" * 500,
    ],
)
def test_what_is_no_absolute_uri_without_a_fragment_cannot_be_a_resource(uri: str) -> None:
    with pytest.raises(NotAllowed, match="absolute URI without a fragment"):
        check_resource(uri, [], ISSUER)


@pytest.mark.parametrize("uri", [ISSUER, f"{ISSUER}/", "https://AUTH.example.com"])
def test_the_issuer_needs_no_row_as_a_resource(uri: str) -> None:
    with pytest.raises(NotAllowed, match="by itself"):
        check_resource(uri, [], ISSUER)


def test_no_resource_understands_the_issuers_own_scope() -> None:
    with pytest.raises(NotAllowed, match="the issuer's own"):
        check_resource("https://orders.example.com", ["orders:read", "account"], ISSUER)


@pytest.mark.parametrize("scope", ["", "orders read", 'orders"', "orders\\", "örders", "a\n", "x" * 129])
def test_a_scope_is_a_token_of_rfc_6749(scope: str) -> None:
    with pytest.raises(NotAllowed, match="cannot be a scope"):
        check_scopes(["orders:read", scope])


@given(st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"\\'), min_size=1))
def test_every_other_printable_character_can_be_in_a_scope(scope: str) -> None:
    check_scopes([scope[:128]])


@pytest.mark.parametrize("client_id", ["", "a b", "a/b", "a:b", "ä", "a\n", "x" * 65])
def test_a_client_id_is_short_and_needs_no_escape(client_id: str) -> None:
    with pytest.raises(NotAllowed, match="A client_id is 1 to 64"):
        check_client(client_id, **PLAIN)


@given(st.uuids(), st.booleans(), st.booleans())
def test_no_client_is_called_like_a_user_could_be(user_id: Any, upper: bool, plain: bool) -> None:  # noqa: FBT001  # hypothesis's
    name = user_id.hex if plain else str(user_id)
    with pytest.raises(NotAllowed, match="the form of a user's id"):
        check_client(name.upper() if upper else name, **PLAIN)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"grant_types": ["implicit"]}, "no grant 'implicit'; choose from: password, client_credentials"),
        ({"public": True}, "A public client cannot have client_credentials"),
        ({"grant_types": ["password"]}, "for first-party clients only"),
        ({"default_scopes": ["orders:write"]}, "give --scope orders:write as well"),
        (
            {"default_resources": ["https://else.example.com"]},
            "give --resource https://else.example.com as well",
        ),
        ({"scopes": ["a b"]}, "cannot be a scope"),
    ],
)
def test_a_client_that_could_not_work_is_refused(changed: dict[str, Any], said: str) -> None:
    check_client("orders", **PLAIN)
    with pytest.raises(NotAllowed, match=said):
        check_client("orders", **(PLAIN | changed))


def test_a_secret_of_ones_own_must_look_random_and_fit_into_basic_credentials() -> None:
    check_secret(new_secret())
    with pytest.raises(NotAllowed, match="at least 32 random characters"):
        check_secret("x" * 31)
    with pytest.raises(NotAllowed, match="printable ASCII"):
        check_secret("ä" * 32)
