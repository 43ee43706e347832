"""What is granted: asked ∩ the client's ∩ what the user's roles carry ∩ what the audience understands."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest

from service.cli import demo
from tests.support.actors import PASSWORD, READER, VISITOR, Actors, Person, Program
from tests.support.client import Api, Tokens, claims, tokens
from tests.support.refusals import assert_oauth_error

ISSUER = "http://localhost:8000"
BOTH = "orders:read orders:write"

Ask = Callable[..., Any]


@pytest.fixture
def ask(api: Api) -> Ask:
    """Ask /token, for a user if one is given."""

    def ask(client: Program, user: Person | None = None, **more: str | Sequence[str]) -> Any:
        data: dict[str, str | Sequence[str]] = {**client.form, **more, "grant_type": "client_credentials"}
        if user is not None:
            data |= {"grant_type": "password", "username": user.username, "password": PASSWORD}
        return api.http.post("/token", data=data)

    return ask


@pytest.mark.parametrize(
    ("roles", "more", "scope"),
    [
        (["editor"], {}, f"account {BOTH}"),
        (["editor"], {"scope": "orders:read"}, "orders:read"),
        (["editor"], {"scope": "orders:read orders:read"}, "orders:read"),
        ([READER], {}, "account orders:read"),
        ([READER], {"scope": BOTH}, "orders:read"),
        ([READER, VISITOR], {}, "account orders:read"),
        ([VISITOR], {}, "account"),
        (["gone"], {}, "account"),
        (["editor"], {"resource": demo.RESOURCE}, BOTH),
        (["editor"], {"resource": ISSUER}, "account"),
        (["editor"], {"resource": [ISSUER, demo.RESOURCE]}, f"account {BOTH}"),
        (["editor"], {"resource": ISSUER, "scope": "account orders:read"}, "account"),
    ],
)
def test_a_user_is_granted_what_all_sides_allow(
    actors: Actors, ask: Ask, roles: list[str], more: dict[str, Any], scope: str
) -> None:
    granted = tokens(ask(actors.client(), actors.user(*roles), **more))

    assert granted.body["scope"] == granted.claims["scope"] == scope
    assert claims(granted.refresh)["scope"] == scope


@pytest.mark.parametrize(
    ("roles", "more"),
    [
        (["editor"], {"scope": "orders:burn"}),
        (["editor"], {"scope": "orders:read orders:burn"}),
        (["editor"], {"scope": "orders:read  orders:write"}),
        (["editor"], {"scope": " orders:read"}),
        (["editor"], {"scope": 'orders:"read"'}),
        (["editor"], {"scope": "é"}),
        ([VISITOR], {"scope": "orders:read"}),
        ([READER], {"scope": "orders:write"}),
        (["editor"], {"scope": "orders:read", "resource": ISSUER}),
        (["editor"], {"scope": "account", "resource": demo.RESOURCE}),
    ],
)
def test_a_scope_that_nobody_may_have_here_is_refused(
    actors: Actors, ask: Ask, roles: list[str], more: dict[str, Any]
) -> None:
    assert_oauth_error(ask(actors.client(), actors.user(*roles), **more), "invalid_scope")


@pytest.mark.parametrize(
    "resource",
    ["http://localhost:9999", "orders", f"{demo.RESOURCE}/", f"{demo.RESOURCE}#x", "x" * 5000, ISSUER + "/"],
)
def test_a_resource_that_the_client_may_not_ask_for_is_refused(
    actors: Actors, ask: Ask, resource: str
) -> None:
    client = actors.client()

    assert_oauth_error(ask(client, resource=resource), "invalid_target")
    assert_oauth_error(ask(client, resource=[demo.RESOURCE, resource]), "invalid_target")


def test_a_client_without_a_default_names_its_resource(actors: Actors, ask: Ask) -> None:
    client = actors.client(first_party=False, default_resources=())

    assert_oauth_error(ask(client), "invalid_target")
    assert tokens(ask(client, resource=demo.RESOURCE)).claims["aud"] == demo.RESOURCE


def test_a_resource_named_twice_is_one_audience(api: Api, actors: Actors, ask: Ask) -> None:
    client = actors.client(confidential=False)
    session = tokens(ask(client, actors.user(), resource=[demo.RESOURCE, demo.RESOURCE]))
    refreshed = api.refresh(session.refresh, resource=[demo.RESOURCE, demo.RESOURCE])  # type: ignore[arg-type]  # JSON

    assert session.claims["aud"] == tokens(refreshed).claims["aud"] == demo.RESOURCE


def test_a_client_of_others_has_no_account(actors: Actors, ask: Ask) -> None:
    client = actors.client(first_party=False)

    assert_oauth_error(ask(client, scope="account"), "invalid_scope")
    assert_oauth_error(ask(client, resource=ISSUER), "invalid_target")
    assert tokens(ask(client)).body["scope"] == BOTH


def test_a_client_for_itself_has_no_account(actors: Actors, ask: Ask) -> None:
    client = actors.client()
    own = tokens(ask(client))

    assert own.body["scope"] == BOTH
    assert own.claims["sub"] == own.claims["client_id"] == client.id
    assert not {"sid", "roles", "uep", "auth_time", "amr"} & set(own.claims)
    assert not own.refresh
    assert_oauth_error(ask(client, scope="account"), "invalid_scope")


def test_without_a_scope_a_client_gets_its_defaults(actors: Actors, ask: Ask) -> None:
    client = actors.client(default_scopes=["orders:read"])

    assert tokens(ask(client)).body["scope"] == "orders:read"
    assert tokens(ask(client, scope=BOTH)).body["scope"] == BOTH


# --- narrowing at a refresh -------------------------------------------------------------------------------

NARROWINGS = [
    ({"scope": "orders:write"}, "invalid_scope"),
    ({"scope": "account"}, "invalid_scope"),
    ({"scope": "orders:burn"}, "invalid_scope"),
    ({"scope": "orders:read  x"}, "invalid_scope"),
    ({"resource": "http://localhost:9999"}, "invalid_target"),
    ({"resource": ISSUER}, "invalid_target"),
]


@pytest.fixture
def narrow(api: Api, actors: Actors) -> Tokens:
    """A session that was granted one scope for one resource; its client could ask for more."""
    return api.sign_in(actors.user().username, PASSWORD, scope="orders:read", resource=demo.RESOURCE)


@pytest.mark.parametrize(("more", "error"), NARROWINGS)
def test_asking_for_more_than_was_granted_rotates_nothing(
    api: Api, narrow: Tokens, more: dict[str, str], error: str
) -> None:
    assert_oauth_error(api.refresh(narrow.refresh, **more), error)

    # Nothing happened: the token is still the live one, and after its rotation there is a grace period.
    successor = tokens(api.refresh(narrow.refresh))
    assert tokens(api.refresh(narrow.refresh)).refresh == successor.refresh


@pytest.mark.parametrize(("more", "error"), NARROWINGS)
def test_asking_for_more_in_the_grace_period_is_refused_and_harms_nothing(
    api: Api, narrow: Tokens, more: dict[str, str], error: str
) -> None:
    successor = tokens(api.refresh(narrow.refresh))

    assert_oauth_error(api.refresh(narrow.refresh, **more), error)

    assert tokens(api.refresh(narrow.refresh)).refresh == successor.refresh
    assert tokens(api.refresh(successor.refresh)).jti != successor.jti


def test_narrowing_is_for_the_access_token_alone(api: Api, actors: Actors) -> None:
    session = api.sign_in(actors.user().username, PASSWORD)

    narrowed = tokens(api.refresh(session.refresh, scope="orders:read", resource=demo.RESOURCE))

    assert narrowed.claims["scope"] == narrowed.body["scope"] == "orders:read"
    assert narrowed.claims["aud"] == demo.RESOURCE
    assert claims(narrowed.refresh)["scope"] == claims(session.refresh)["scope"]
    assert tokens(api.refresh(narrowed.refresh)).claims["scope"] == session.claims["scope"]


def test_narrowing_holds_in_the_grace_period_too(api: Api, actors: Actors) -> None:
    session = api.sign_in(actors.user().username, PASSWORD)
    first = tokens(api.refresh(session.refresh))

    again = tokens(api.refresh(session.refresh, scope="orders:read", resource=demo.RESOURCE))

    assert again.refresh == first.refresh
    assert (again.claims["scope"], again.claims["aud"]) == ("orders:read", demo.RESOURCE)


def test_a_refresh_after_the_user_lost_a_role_still_succeeds_with_less(api: Api, actors: Actors) -> None:
    user = actors.user("editor")
    session = api.sign_in(user.username, PASSWORD)
    actors.set_roles(user, READER)

    asked = tokens(api.refresh(session.refresh, scope="orders:write"))
    plain = tokens(api.refresh(asked.refresh))

    assert asked.claims["scope"] == ""
    assert plain.claims["scope"] == "account orders:read"
    assert plain.claims["roles"] == [READER]


def test_a_role_given_later_widens_no_session(api: Api, actors: Actors) -> None:
    user = actors.user(READER)
    session = api.sign_in(user.username, PASSWORD)
    actors.set_roles(user, "editor")

    assert tokens(api.refresh(session.refresh)).claims["scope"] == "account orders:read"
    assert_oauth_error(api.refresh(session.refresh, scope="orders:write"), "invalid_scope")


def test_a_refused_narrowing_harms_nothing_without_a_grace_period_either(api: Api, actors: Actors) -> None:
    client, user = actors.client(confidential=False, grace=timedelta(0)), actors.user()
    session = api.sign_in(user.username, PASSWORD, client_id=client.id)

    assert_oauth_error(api.refresh(session.refresh, scope="orders:burn"), "invalid_scope")
    assert_oauth_error(api.refresh(session.refresh, resource="http://localhost:9999"), "invalid_target")

    assert api.refresh(session.refresh).status_code == 200
    assert_oauth_error(api.refresh(session.refresh), "invalid_grant")
