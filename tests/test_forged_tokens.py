"""Tokens that nobody may believe, shown wherever a token can be shown."""

import time
from collections.abc import Iterator
from uuid import uuid4

import pytest

from service.cli import demo
from tests.support.actors import PASSWORD, Actors, Person
from tests.support.client import SERVICE_AUTH, Api, bearer, tokens
from tests.support.database import sql
from tests.support.deployment import Deployment, Server
from tests.support.forging import ACCESS, REFRESH, Forge, without
from tests.support.refusals import LogTail, assert_bearer_error, assert_no_echo, assert_oauth_error


@pytest.fixture(scope="module")
def forges(deployment: Deployment, server: Server) -> tuple[Forge, Person]:  # noqa: ARG001  # must be running
    return Forge(deployment), Actors(deployment).user()


@pytest.fixture
def forge(forges: tuple[Forge, Person], api: Api) -> Forge:
    """The forge, with a session that no other test has."""
    forge, user = forges
    forge.session = api.sign_in(user.username, PASSWORD)
    return forge


@pytest.fixture(autouse=True)
def nothing_leaks(server: Server) -> Iterator[None]:
    tail = LogTail(server.log)
    yield
    tail.assert_clean()


def test_the_forge_itself_makes_good_tokens(api: Api, forge: Forge) -> None:
    assert api.me(forge.genuine(forge.payload)).status_code == 200
    assert api.me(forge.with_header(forge.payload)).status_code == 200
    assert api.refresh(forge.genuine(forge.refresh_payload, "rt+jwt")).status_code == 200


@pytest.mark.parametrize("case", ACCESS)
def test_no_account_opens_to(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.http.get("/me", headers=[(b"Authorization", f"Bearer {token}".encode())])

    assert_bearer_error(answer)
    assert_no_echo(answer, token)


@pytest.mark.parametrize("case", [case for case in ACCESS if case != "a refresh token"])
def test_introspection_calls_inactive(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.http.post(
        "/introspect", data={"token": token, "token_type_hint": "access_token"}, auth=SERVICE_AUTH
    )

    assert answer.status_code == 200
    assert answer.json() == {"active": False}


@pytest.mark.parametrize("case", [case for case in ACCESS if case != "a refresh token"])
def test_nothing_is_refreshed_with(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.refresh(token)

    assert_oauth_error(answer, "invalid_grant")
    assert_no_echo(answer, token)


@pytest.mark.parametrize("case", [case for case in ACCESS if not case.startswith("a refresh token")])
def test_revoking_is_a_success_that_does_nothing_with(api: Api, forge: Forge, case: str) -> None:
    answer = api.http.post("/revoke", data={"token": ACCESS[case](forge), "client_id": "demo-app"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert api.me(forge.session.access).status_code == 200


@pytest.mark.parametrize("case", REFRESH)
@pytest.mark.parametrize("client", [{}, {"client_id": "demo-app"}])
def test_no_session_goes_on_with(api: Api, forge: Forge, case: str, client: dict[str, str]) -> None:
    token = REFRESH[case](forge)

    answer = api.refresh(token, **client)

    if case in {"another client", "a client that is not there"} and not client:
        assert_oauth_error(answer, "invalid_client", 401)
    else:
        assert_oauth_error(answer, "invalid_grant")
    assert_no_echo(answer, token)
    # And the session is not taken for stolen.
    assert tokens(api.refresh(forge.session.refresh)).jti != forge.session.jti


# An access token of the issuer is one whatever its claims were meant for: only the issuer's key writes one.
@pytest.mark.parametrize("case", [case for case in REFRESH if not case.startswith("an access token")])
def test_revoking_and_introspection_make_nothing_of(api: Api, forge: Forge, case: str) -> None:
    token = REFRESH[case](forge)

    seen = api.http.post("/introspect", data={"token": token}, auth=SERVICE_AUTH)
    revoked = api.http.post("/revoke", data={"token": token, "client_id": "demo-app"})

    assert seen.json() == {"active": False}
    if case == "another client":
        assert_oauth_error(revoked, "invalid_grant")
    elif case != "a client that is not there":
        assert revoked.status_code == 200
    assert api.me(forge.session.access).status_code == 200
    assert api.refresh(forge.session.refresh).status_code == 200


@pytest.mark.parametrize("aud", [demo.RESOURCE, "https://evil.example", ["a", "b"], "http://localhost:8000/"])
def test_a_token_for_other_audiences_opens_no_account(api: Api, forge: Forge, aud: object) -> None:
    answer = api.me(forge.genuine(forge.payload | {"aud": aud}))

    assert_bearer_error(answer)


def test_a_token_for_a_resource_alone_opens_no_account(api: Api) -> None:
    session = api.sign_in(resource=demo.RESOURCE, scope="orders:read")

    assert session.claims["aud"] == demo.RESOURCE
    for method, path in (("GET", "/me"), ("GET", "/sessions"), ("POST", "/logout"), ("POST", "/logout/all")):
        assert_bearer_error(api.http.request(method, path, headers=bearer(session.access)))
    assert api.introspect(session.access)["active"]


def test_a_token_without_the_scope_account_opens_no_account(api: Api) -> None:
    session = api.sign_in(scope="orders:read")

    answer = api.me(session.access)

    assert_bearer_error(answer, "insufficient_scope", 403)
    assert 'scope="account"' in answer.headers["www-authenticate"]


def test_a_clients_own_token_opens_no_account(api: Api, forge: Forge) -> None:
    own = api.http.post("/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH)

    assert_bearer_error(api.me(own.json()["access_token"]), "insufficient_scope", 403)
    # Even if it had the scope: there is no user behind it.
    nobody = without(without(forge.payload, "sid"), "uep") | {"sub": "demo-service"}
    assert_bearer_error(api.me(forge.genuine(nobody)))


def test_a_token_of_a_user_who_is_gone_opens_no_account(api: Api, forge: Forge) -> None:
    assert_bearer_error(api.me(forge.genuine(forge.payload | {"sub": str(uuid4())})))


def test_an_access_token_that_a_verifier_may_still_accept_is_revoked_for_it(
    api: Api, forge: Forge, deployment: Deployment
) -> None:
    payload = forge.payload | {"exp": int(time.time()) - 30}

    api.revoke(forge.genuine(payload))

    found = sql(deployment.database_url, "SELECT kind FROM revocations WHERE subject = $1", payload["jti"])
    assert [row["kind"] for row in found] == ["jti"]


def test_a_refresh_token_that_is_over_still_revokes_the_access_tokens_of_its_session(
    api: Api, forge: Forge
) -> None:
    api.revoke(forge.genuine(forge.refresh_payload | {"exp": int(time.time()) - 600}, "rt+jwt"))

    assert not api.is_alive(forge.session.access)
