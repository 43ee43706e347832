"""What programs in a browser may read: at the origins of public clients, and nowhere else."""

from collections.abc import Mapping

import httpx2
import pytest

from tests.support.actors import PASSWORD, Actors, Program
from tests.support.client import Api, bearer, unique
from tests.support.deployment import Deployment, Server
from tests.support.processes import eventually

DOCUMENTS = ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server")


@pytest.fixture(scope="module")
def origin() -> str:
    return f"https://{unique('app')}.example.com"


@pytest.fixture(scope="module")
def client(deployment: Deployment, server: Server, origin: str) -> Program:
    """A public client at this origin, of which both workers have heard."""
    return heard_of(deployment, server, origin)


def heard_of(deployment: Deployment, server: Server, origin: str) -> Program:
    made = Actors(deployment).client(confidential=False, origins=[origin, "http://localhost:5173"])

    def is_known() -> bool:
        return allowed(httpx2.post(f"{server.url}/token", headers={"Origin": origin}), origin)

    eventually(lambda: all(is_known() for _ in range(8)), within=20)
    return made


def allowed(answer: httpx2.Response, origin: str) -> bool:
    """Whether a browser shows this answer to a program of this origin; the rest of the headers must agree."""
    assert "access-control-allow-credentials" not in answer.headers
    assert answer.headers.get_list("access-control-allow-origin") in ([], [origin])
    assert answer.headers["vary"] == "Origin"
    return "access-control-allow-origin" in answer.headers


def preflight(http: httpx2.Client, path: str, method: str, origin: str, **more: str) -> httpx2.Response:
    return http.options(path, headers={"Origin": origin, "Access-Control-Request-Method": method, **more})


@pytest.mark.parametrize(
    ("path", "method"),
    [
        ("/token", "POST"),
        ("/refresh", "POST"),
        ("/revoke", "POST"),
        ("/me", "GET"),
        ("/me/password", "POST"),
        ("/sessions", "GET"),
        ("/sessions/00000000-0000-0000-0000-000000000000", "DELETE"),
        ("/logout", "POST"),
        ("/logout/all", "POST"),
    ],
)
@pytest.mark.usefixtures("client")
def test_a_browser_asks_beforehand_and_reads_the_refusal_of_what_it_then_sends(
    http: httpx2.Client, origin: str, path: str, method: str
) -> None:
    asked = preflight(http, path, method, origin)
    sent = http.request(method, path, headers={"Origin": origin})

    assert asked.status_code == 204
    assert allowed(asked, origin)
    assert method in asked.headers["access-control-allow-methods"].split(", ")
    assert {"Authorization", "Content-Type"} <= set(asked.headers["access-control-allow-headers"].split(", "))
    assert sent.status_code in {400, 401, 415}
    assert allowed(sent, origin)
    assert "WWW-Authenticate" in sent.headers["access-control-expose-headers"]
    assert sent.json()


def test_a_program_in_a_browser_signs_a_user_in_and_out(
    api: Api, client: Program, actors: Actors, origin: str
) -> None:
    api.http.headers["Origin"] = origin
    form = {"grant_type": "password", "username": actors.user().username, "password": PASSWORD, **client.form}

    begun = api.http.post("/token", data=form)
    refreshed = api.refresh(begun.json()["refresh_token"])
    me = api.me(refreshed.json()["access_token"])
    out = api.http.post("/logout", headers=bearer(refreshed.json()["access_token"]))

    for answer, status in ((begun, 200), (refreshed, 200), (me, 200), (out, 204)):
        assert answer.status_code == status
        assert allowed(answer, origin)


@pytest.mark.parametrize("error", [{"client_id": "nobody"}, {"scope": "no:such"}, {"grant_type": "implicit"}])
def test_an_oauth_error_can_be_read(
    http: httpx2.Client, client: Program, origin: str, error: Mapping[str, str]
) -> None:
    form = {"grant_type": "refresh_token", "refresh_token": "x", **client.form, **error}

    answer = http.post("/token", data=form, headers={"Origin": origin})

    assert answer.status_code in {400, 401}
    assert allowed(answer, origin)


@pytest.mark.parametrize(
    "other",
    [
        "https://evil.example.com",
        "http://{host}",
        "https://{host}:8443",
        "https://{host}.evil.example",
        "https://sub.{host}",
        "https://{host}/",
        "HTTPS://{host}",
        "null",
        "*",
        "",
        "\u00e9",
    ],
)
def test_another_origin_learns_nothing(http: httpx2.Client, client: Program, origin: str, other: str) -> None:
    named = other.format(host=origin.removeprefix("https://")).encode("latin-1")
    headers = {b"Origin": named}

    asked = http.options("/token", headers={**headers, b"Access-Control-Request-Method": b"POST"})
    sent = http.post("/token", data=client.form, headers=headers)

    assert asked.status_code == 405
    for answer in (asked, sent):
        assert not allowed(answer, origin)


@pytest.mark.parametrize("path", DOCUMENTS)
def test_documents_are_for_every_origin(http: httpx2.Client, path: str) -> None:
    asked = preflight(http, path, "GET", "https://any.example.com")
    got = http.get(path, headers={"Origin": "https://any.example.com"})

    assert asked.status_code == 204
    for answer in (asked, got):
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "access-control-allow-credentials" not in answer.headers


@pytest.mark.usefixtures("client")
@pytest.mark.parametrize("path", ["/introspect", "/healthz", "/nowhere"])
def test_what_no_browser_calls_is_for_none(http: httpx2.Client, origin: str, path: str) -> None:
    for answer in (preflight(http, path, "POST", origin), http.post(path, headers={"Origin": origin})):
        assert "access-control-allow-origin" not in answer.headers


def test_without_an_origin_nothing_is_said_of_it(http: httpx2.Client, client: Program) -> None:
    answer = http.post("/token", data=client.form)

    assert not [name for name in answer.headers if name.startswith("access-control")]


def test_the_origins_of_a_disabled_client_are_strangers(
    deployment: Deployment, server: Server, actors: Actors
) -> None:
    origin = f"https://{unique('app')}.example.com"
    actors.disable_client(heard_of(deployment, server, origin))

    def is_known() -> bool:
        return allowed(httpx2.post(f"{server.url}/token", headers={"Origin": origin}), origin)

    eventually(lambda: not any(is_known() for _ in range(8)), within=20)


@pytest.mark.parametrize("path", ["/token", "/refresh", "/revoke", "/introspect"])
def test_a_page_of_a_strange_site_cannot_have_its_visitors_send_anything(
    http: httpx2.Client, client: Program, origin: str, path: str
) -> None:
    form = {
        "grant_type": "password",
        "client_id": client.id,
        "username": unique("user"),
        "password": "a-guess",
    }

    def sent(**headers: str) -> int:
        return http.post(path, data=form, headers=headers).status_code

    strange = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}
    refused = http.post(path, data=form, headers=strange)
    assert (refused.status_code, refused.json()["error"]) == (403, "invalid_request")
    assert sent(Origin="null", **{"Sec-Fetch-Site": "cross-site"}) == 403
    assert sent(Origin=origin, **{"Sec-Fetch-Site": "cross-site"}) != 403
    assert sent(Origin="https://evil.example.com", **{"Sec-Fetch-Site": "same-origin"}) != 403


def test_a_guess_that_a_page_of_a_strange_site_makes_is_not_counted(
    deployment: Deployment, client: Program, actors: Actors
) -> None:
    person = actors.user()
    form = {"grant_type": "password", "client_id": client.id, "username": person.username}
    strange = {"Origin": "https://evil.example.com", "Sec-Fetch-Site": "cross-site"}
    with deployment.having(guesses_per_account="2").serving(workers=1) as server:
        for _ in range(5):
            wrong = httpx2.post(f"{server.url}/token", data=form | {"password": "a-guess"}, headers=strange)
            assert wrong.status_code == 403

        right = httpx2.post(f"{server.url}/token", data=form | {"password": PASSWORD})
        assert right.status_code == 200
