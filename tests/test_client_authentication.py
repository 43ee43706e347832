"""How a client proves itself at the OAuth endpoints (RFC 6749 2.3), and how it fails to."""

import base64
from collections.abc import Mapping
from urllib.parse import quote_plus

import httpx2
import pytest

from service.cli import demo
from tests.support.actors import PASSWORD, Actors, Program
from tests.support.client import SERVICE_AUTH, Api
from tests.support.deployment import Server
from tests.support.processes import eventually
from tests.support.refusals import LogTail, assert_invalid_client, assert_no_echo, assert_oauth_error

ODD_SECRET = "a+b%c:d&e=f gé😀/?#"
"""Every character that form-encoding is there for (RFC 6749 2.3.1)."""


def basic(client_id: str, secret: str, *, encoded: bool = True) -> dict[str, str]:
    halves = [quote_plus(half) for half in (client_id, secret)] if encoded else [client_id, secret]
    return {"Authorization": "Basic " + base64.b64encode(":".join(halves).encode()).decode()}


def ask(
    http: httpx2.Client,
    data: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/token",
) -> httpx2.Response:
    """A request that succeeds, but for /refresh, if the client is known."""
    body = {"token": "x", "refresh_token": "x", **(data or {})}
    if path == "/token":
        body["grant_type"] = "client_credentials"
    return http.post(path, data=body, headers=headers)


@pytest.fixture
def odd(actors: Actors) -> Program:
    return actors.client(secret=ODD_SECRET)


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
def test_a_client_proves_itself_by_basic(http: httpx2.Client, odd: Program, path: str) -> None:
    assert ask(http, headers=basic(odd.id, ODD_SECRET), path=path).status_code == 200


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
def test_a_client_proves_itself_in_the_form(http: httpx2.Client, odd: Program, path: str) -> None:
    assert ask(http, odd.form, path=path).status_code == 200


def test_the_halves_of_basic_are_form_encoded(http: httpx2.Client, odd: Program) -> None:
    assert_invalid_client(ask(http, headers=basic(odd.id, ODD_SECRET, encoded=False)))


def test_the_scheme_is_read_in_any_case(http: httpx2.Client, odd: Program) -> None:
    right = basic(odd.id, ODD_SECRET)["Authorization"]

    for scheme in ("basic", "BASIC", "bAsIc"):
        assert ask(http, headers={"Authorization": right.replace("Basic", scheme)}).status_code == 200


def test_a_public_client_names_itself(http: httpx2.Client, actors: Actors) -> None:
    public = actors.client(confidential=False)

    assert ask(http, public.form, path="/revoke").status_code == 200


def test_a_secret_of_a_generated_kind_needs_no_encoding(http: httpx2.Client, actors: Actors) -> None:
    client = actors.client()

    assert client.secret is not None
    assert ask(http, headers=basic(client.id, client.secret, encoded=False)).status_code == 200


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke", "/refresh"])
def test_two_ways_at_once_are_one_too_many(http: httpx2.Client, odd: Program, path: str) -> None:
    assert_oauth_error(ask(http, odd.form, basic(odd.id, ODD_SECRET), path))
    assert_oauth_error(ask(http, {"client_secret": ODD_SECRET}, basic(odd.id, ODD_SECRET), path))


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke", "/refresh"])
def test_basic_for_one_and_a_client_id_for_another_is_refused(
    http: httpx2.Client, odd: Program, path: str
) -> None:
    assert_oauth_error(ask(http, {"client_id": "demo-service"}, basic(odd.id, ODD_SECRET), path))


def test_basic_beside_its_own_client_id_is_fine(http: httpx2.Client, odd: Program) -> None:
    assert ask(http, {"client_id": odd.id}, basic(odd.id, ODD_SECRET)).status_code == 200


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
def test_no_client_at_all_is_asked_to_prove_itself(http: httpx2.Client, path: str) -> None:
    assert_invalid_client(ask(http, path=path))


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke", "/refresh"])
def test_a_secret_of_nobody_is_refused(http: httpx2.Client, path: str) -> None:
    assert_oauth_error(ask(http, {"client_secret": "x"}, path=path))


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke", "/refresh"])
def test_every_failure_has_the_same_words(
    http: httpx2.Client, actors: Actors, odd: Program, path: str
) -> None:
    public, gone = actors.client(confidential=False), actors.client()
    assert ask(http, gone.form).status_code == 200
    actors.disable_client(gone)
    # A worker's copy of the clients is up to `watch_interval` old.
    eventually(lambda: ask(http, gone.form).status_code == 401, within=10)
    failures = [
        ask(http, {"client_id": "nobody", "client_secret": "x"}, path=path),
        ask(http, {"client_id": "nobody"}, path=path),
        ask(http, {"client_id": odd.id, "client_secret": "wrong"}, path=path),
        ask(http, {"client_id": odd.id}, path=path),
        ask(http, {"client_id": odd.id, "client_secret": ""}, path=path),
        ask(http, {"client_id": public.id, "client_secret": "x"}, path=path),
        ask(http, headers=basic("nobody", ODD_SECRET), path=path),
        ask(http, headers=basic(odd.id, "wrong"), path=path),
        ask(http, headers=basic(odd.id, ""), path=path),
        ask(http, headers=basic(odd.id.upper(), ODD_SECRET), path=path),
        ask(http, headers=basic(public.id, ""), path=path),
        ask(http, headers=basic("", ""), path=path),
        ask(http, gone.form, path=path),
    ]

    for failure in failures:
        assert_invalid_client(failure)
    words = {failure.text for failure in failures if "base64" not in failure.text}
    assert len(words) == 1


def test_a_wrong_secret_is_not_told_nor_logged(http: httpx2.Client, server: Server, odd: Program) -> None:
    tail = LogTail(server.log)

    answers = [
        ask(http, {"client_id": odd.id, "client_secret": "hush-wrong"}),
        ask(http, headers=basic(odd.id, "hush-wrong")),
        ask(http, headers={"Authorization": "Basic hush-wrong"}),
        ask(http, headers={"Authorization": "Bearer hush-wrong"}),
    ]

    for answer in answers:
        assert_invalid_client(answer)
        assert_no_echo(answer, "hush-wrong")
    assert odd.id in tail.text
    tail.assert_clean("hush-wrong")


def test_a_disabled_client_is_out_on_every_worker_and_its_tokens_at_once(api: Api, actors: Actors) -> None:
    client, user = actors.client(), actors.user()
    data = {"grant_type": "password", "username": user.username, "password": PASSWORD}
    session = api.http.post("/token", data=data, auth=client.basic).json()

    actors.disable_client(client)

    assert api.me(session["access_token"]).status_code == 401

    def is_out() -> bool:
        answer = api.http.post(
            "/refresh",
            json={"refresh_token": session["refresh_token"]},
            auth=client.basic,
            headers={"Connection": "close"},  # so that the next one goes to any worker
        )
        # A worker that has not heard yet answers, but with a token that is dead.
        assert answer.status_code == 401 or api.me(answer.json()["access_token"]).status_code == 401
        return answer.status_code == 401

    eventually(lambda: all(is_out() for _ in range(8)), within=10)


@pytest.mark.parametrize(
    ("grant_types", "asked"),
    [
        (["client_credentials"], {"grant_type": "password", "username": "alice", "password": "wonderland"}),
        (["password"], {"grant_type": "client_credentials"}),
        (["password", "client_credentials"], {"grant_type": "refresh_token", "refresh_token": "x"}),
    ],
)
def test_a_grant_that_the_client_was_not_given_is_not_for_it(
    http: httpx2.Client, actors: Actors, grant_types: list[str], asked: dict[str, str]
) -> None:
    client = actors.client(grant_types=grant_types)

    answer = http.post("/token", data=asked, auth=client.basic)

    assert_oauth_error(answer, "unauthorized_client")


def test_a_client_that_may_not_refresh_gets_no_refresh_token(http: httpx2.Client, actors: Actors) -> None:
    client = actors.client(grant_types=["password"])
    data = {"grant_type": "password", "username": actors.user().username, "password": PASSWORD}

    assert "refresh_token" not in http.post("/token", data=data, auth=client.basic).json()


def test_a_public_client_cannot_introspect(http: httpx2.Client, actors: Actors) -> None:
    public = actors.client(confidential=False)

    assert_invalid_client(ask(http, public.form, path="/introspect"))


def test_only_the_client_that_a_refresh_token_was_issued_to_may_use_it(api: Api, odd: Program) -> None:
    session = api.sign_in()

    stolen = api.http.post(
        "/refresh", data={"refresh_token": session.refresh}, headers=basic(odd.id, ODD_SECRET)
    )
    renamed = api.refresh(session.refresh, client_id=odd.id)

    assert_oauth_error(stolen, "invalid_grant")
    assert_invalid_client(renamed)
    assert api.refresh(session.refresh).status_code == 200


def test_a_confidential_client_proves_itself_to_refresh(api: Api) -> None:
    data = {"grant_type": "password", "username": demo.ALICE.username, "password": demo.PASSWORD}
    refresh_token = api.http.post("/token", data=data, auth=SERVICE_AUTH).json()["refresh_token"]

    assert_invalid_client(api.refresh(refresh_token))
    assert_invalid_client(api.refresh(refresh_token, client_id="demo-service"))
    assert (
        api.http.post("/refresh", json={"refresh_token": refresh_token}, auth=SERVICE_AUTH).status_code == 200
    )
