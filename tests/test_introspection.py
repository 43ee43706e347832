"""POST /introspect: what a client may learn of a token; POST /revoke: whose token it may take back."""

from typing import Any

import pytest

from service.cli import demo
from tests.support.actors import PASSWORD, Actors, Person, Program
from tests.support.client import Api, Tokens, tokens, unique
from tests.support.refusals import assert_not_stored, assert_oauth_error

INACTIVE = {"active": False}


def introspected(api: Api, client: Program, token: str, **more: str) -> dict[str, Any]:
    answer = api.http.post("/introspect", data={"token": token, **more}, auth=client.basic)
    assert answer.status_code == 200, answer.text
    assert_not_stored(answer)
    body: dict[str, Any] = answer.json()
    return body


def signed_in(api: Api, client: Program, user: Person, **more: str) -> Tokens:
    data = {"grant_type": "password", "username": user.username, "password": PASSWORD, **client.form, **more}
    return tokens(api.http.post("/token", data=data))


@pytest.fixture
def owner(actors: Actors) -> Program:
    return actors.client()


@pytest.fixture
def session(api: Api, actors: Actors, owner: Program) -> Tokens:
    return signed_in(api, owner, actors.user())


def test_a_client_sees_its_own_access_token(api: Api, owner: Program, session: Tokens) -> None:
    seen = introspected(api, owner, session.access)

    shown = {k: v for k, v in session.claims.items() if k not in {"uep", "cep"}}
    assert seen == {"active": True, "token_type": "Bearer", **shown}


def test_a_client_sees_its_own_refresh_token(api: Api, owner: Program, session: Tokens) -> None:
    seen = introspected(api, owner, session.refresh)

    assert seen["active"]
    assert "token_type" not in seen
    assert seen["username"].startswith("user-")
    assert (seen["sid"], seen["sub"]) == (session.claims["sid"], session.claims["sub"])
    assert (seen["jti"], seen["scope"]) == (session.jti, session.body["scope"])


def test_another_client_sees_nothing(api: Api, actors: Actors, session: Tokens) -> None:
    stranger = actors.client()

    assert introspected(api, stranger, session.access) == INACTIVE
    assert introspected(api, stranger, session.refresh) == INACTIVE


def test_a_resource_sees_access_tokens_for_itself_alone(api: Api, actors: Actors) -> None:
    mine, others = f"https://{unique('mine')}.test", f"https://{unique('others')}.test"
    server, _ = actors.client(serves=[mine]), actors.client(serves=[others])
    owner = actors.client(resources=[mine, others])
    user = actors.user()

    assert introspected(api, server, signed_in(api, owner, user, resource=mine).access)["aud"] == mine
    assert introspected(api, server, signed_in(api, owner, user).access)["active"]
    assert introspected(api, server, signed_in(api, owner, user, resource=others).access) == INACTIVE
    assert introspected(api, server, signed_in(api, owner, user, resource=mine).refresh) == INACTIVE


def test_a_client_with_the_permission_sees_every_access_token_and_no_refresh_token(
    api: Api, actors: Actors, session: Tokens
) -> None:
    auditor = actors.client(introspect_any=True)

    assert introspected(api, auditor, session.access)["active"]
    assert introspected(api, auditor, session.refresh) == INACTIVE


@pytest.mark.parametrize("hint", ["access_token", "refresh_token", "nonsense", ""])
def test_a_hint_changes_nothing(api: Api, owner: Program, session: Tokens, hint: str) -> None:
    assert introspected(api, owner, session.access, token_type_hint=hint)["active"]
    assert introspected(api, owner, session.refresh, token_type_hint=hint)["active"]


def test_a_clients_own_token_has_no_session(api: Api, owner: Program) -> None:
    own = tokens(api.http.post("/token", data={"grant_type": "client_credentials"}, auth=owner.basic))

    seen = introspected(api, owner, own.access)

    assert seen["sub"] == seen["client_id"] == owner.id
    assert not {"sid", "roles", "username", "auth_time"} & set(seen)


def test_a_refresh_token_that_was_exchanged_is_active_while_it_is_honoured(
    api: Api, owner: Program, session: Tokens
) -> None:
    def refreshed(token: str) -> Tokens:
        return tokens(api.http.post("/refresh", json={"refresh_token": token}, auth=owner.basic))

    first = refreshed(session.refresh)
    assert introspected(api, owner, session.refresh)["active"]
    second = refreshed(first.refresh)

    # Two generations ago: to look at it does not end the session, to use it would.
    assert introspected(api, owner, session.refresh) == INACTIVE
    assert introspected(api, owner, second.refresh)["active"]
    assert introspected(api, owner, second.access)["active"]


def test_a_disabled_user_has_no_active_token(api: Api, actors: Actors, owner: Program) -> None:
    user = actors.user()
    session = signed_in(api, owner, user)
    actors.disable_user(user)

    assert introspected(api, owner, session.access) == INACTIVE
    assert introspected(api, owner, session.refresh) == INACTIVE


def test_a_revoked_access_token_is_dead_and_its_session_goes_on(
    api: Api, owner: Program, session: Tokens
) -> None:
    answer = api.http.post("/revoke", data={"token": session.access, **owner.form})

    assert (answer.status_code, answer.content) == (200, b"")
    assert_not_stored(answer)
    assert introspected(api, owner, session.access) == INACTIVE
    assert api.me(session.access).status_code == 401
    successor = tokens(api.http.post("/refresh", json={"refresh_token": session.refresh}, auth=owner.basic))
    assert api.me(successor.access).status_code == 200


def test_a_revoked_refresh_token_takes_its_session_along(api: Api, owner: Program, session: Tokens) -> None:
    refresh = {"refresh_token": session.refresh}
    successor = tokens(api.http.post("/refresh", json=refresh, auth=owner.basic))

    # The one before the live one is as good for that.
    assert api.http.post("/revoke", data={"token": session.refresh, **owner.form}).status_code == 200

    for token in (session.access, successor.access, successor.refresh):
        assert introspected(api, owner, token) == INACTIVE
    for token in (session.refresh, successor.refresh):
        answer = api.http.post("/refresh", json={"refresh_token": token}, auth=owner.basic)
        assert_oauth_error(answer, "invalid_grant")


def test_revoking_again_is_a_success(api: Api, owner: Program, session: Tokens) -> None:
    for token in (session.access, session.access, session.refresh, session.refresh, session.access):
        assert api.http.post("/revoke", data={"token": token, **owner.form}).status_code == 200


def test_a_client_revokes_no_token_of_another(api: Api, actors: Actors, session: Tokens) -> None:
    stranger = actors.client(introspect_any=True)

    for token in (session.access, session.refresh):
        assert_oauth_error(api.http.post("/revoke", data={"token": token, **stranger.form}), "invalid_grant")

    assert api.me(session.access).status_code == 200


def test_the_demo_resource_is_served_by_the_demo_service(api: Api) -> None:
    session = api.sign_in(resource=demo.RESOURCE)

    assert api.introspect(session.access)["aud"] == demo.RESOURCE
