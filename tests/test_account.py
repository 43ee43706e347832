"""A user's own account: /me, /sessions, /logout, the password."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from uuid import UUID

import httpx2
import pytest

from service.settings import Settings
from service.users.passwords import Passwords
from tests.support.actors import PASSWORD, Actors, Person
from tests.support.client import Api, Tokens, bearer, unique
from tests.support.database import sql
from tests.support.deployment import Deployment, Server
from tests.support.refusals import LogTail, assert_bearer_error, assert_oauth_error, assert_problem

NEW = "through the looking-glass"


@pytest.fixture
def user(actors: Actors) -> Person:
    return actors.user()


@pytest.fixture
def session(api: Api, user: Person) -> Tokens:
    return api.sign_in(user.username, PASSWORD)


@pytest.fixture(autouse=True)
def nothing_leaks(server: Server) -> Iterator[None]:
    tail = LogTail(server.log)
    yield
    tail.assert_clean(PASSWORD, NEW)


def change(api: Api, session: Tokens, present: str, new: str) -> httpx2.Response:
    body = {"current_password": present, "new_password": new}
    return api.http.post("/me/password", json=body, headers=bearer(session.access))


def signing_in(api: Api, username: str, password: str) -> httpx2.Response:
    data = {"grant_type": "password", "client_id": "demo-app", "username": username, "password": password}
    return api.http.post("/token", data=data)


def sids(api: Api, session: Tokens) -> list[str]:
    answer = api.http.get("/sessions", headers=bearer(session.access))
    assert answer.status_code == 200, answer.text
    return [listed["sid"] for listed in answer.json()["sessions"]]


# --- signing in -------------------------------------------------------------------------------------------


def test_an_unknown_user_a_wrong_password_and_a_disabled_user_look_the_same(
    api: Api, actors: Actors, user: Person
) -> None:
    disabled = actors.user()
    actors.disable_user(disabled)

    answers = [
        signing_in(api, unique("nobody"), PASSWORD),
        signing_in(api, user.username, "wrong"),
        signing_in(api, f"{user.username}@example.com", "wrong"),
        signing_in(api, f"{unique('nobody')}@example.com", PASSWORD),
        signing_in(api, disabled.username, PASSWORD),
        signing_in(api, disabled.username, "wrong"),
        signing_in(api, user.username, PASSWORD + " "),
        signing_in(api, user.username, PASSWORD.upper()),
        signing_in(api, "' OR 1=1 --", PASSWORD),
    ]

    for answer in answers:
        assert_oauth_error(answer, "invalid_grant")
    assert len({answer.text for answer in answers}) == 1
    different = {"date", "x-request-id"}
    assert len({frozenset((k, v) for k, v in a.headers.items() if k not in different) for a in answers}) == 1


@pytest.mark.parametrize(
    "write", [str.upper, str.title, lambda name: f"  {name}\u2003", lambda n: f"{n}@Example.COM"]
)
def test_a_name_is_known_in_any_spelling(api: Api, user: Person, write: Callable[[str], str]) -> None:
    assert api.sign_in(write(user.username), PASSWORD).claims["sub"] == str(user.id)


def test_no_password_opens_an_account_without_one(deployment: Deployment) -> None:
    async def verify(password_hash: str | None) -> bool:
        passwords = Passwords(deployment.settings)
        try:
            return (await passwords.verify("no user has this password", password_hash))[0]
        finally:
            passwords.close()

    for password_hash in (None, "", "!", "*", "plain", "$argon2id$", "$2b$12$abc"):
        assert not asyncio.run(verify(password_hash))


# --- /me and /sessions ------------------------------------------------------------------------------------


def test_me_tells_who_i_am(api: Api, user: Person, session: Tokens) -> None:
    me = api.me(session.access).json()

    assert (me["sub"], me["username"]) == (str(user.id), user.username)
    assert me["email"] == f"{user.username}@example.com"
    assert me["roles"] == ["editor"]
    assert (me["sid"], me["client_id"]) == (session.claims["sid"], "demo-app")


def test_sessions_are_listed_the_newest_first_and_the_present_one_is_marked(
    api: Api, user: Person, session: Tokens
) -> None:
    other = api.sign_in(user.username, PASSWORD)

    listed = api.http.get("/sessions", headers=bearer(session.access)).json()["sessions"]

    assert [s["sid"] for s in listed] == [other.claims["sid"], session.claims["sid"]]
    assert [s["current"] for s in listed] == [False, True]
    assert listed[0]["client_name"] == "Demo app"
    assert listed[0]["last_refreshed_at"] is None
    assert listed[0]["address"] == "127.0.0.1"


def test_a_user_ends_another_of_their_sessions(api: Api, user: Person, session: Tokens) -> None:
    other = api.sign_in(user.username, PASSWORD)
    path = f"/sessions/{other.claims['sid']}"

    assert api.http.delete(path, headers=bearer(session.access)).status_code == 204

    assert not api.is_alive(other.access)
    assert_oauth_error(api.refresh(other.refresh), "invalid_grant")
    assert sids(api, session) == [session.claims["sid"]]
    # Again, for the answer that was lost.
    assert api.http.delete(path, headers=bearer(session.access)).status_code == 204


def test_a_session_of_somebody_else_is_not_there(api: Api, actors: Actors, session: Tokens) -> None:
    stranger = api.sign_in(actors.user().username, PASSWORD)

    answer = api.http.delete(f"/sessions/{stranger.claims['sid']}", headers=bearer(session.access))
    nothing = api.http.delete(f"/sessions/{UUID(int=7)}", headers=bearer(session.access))

    assert_problem(answer, 404)
    assert answer.json() | {"request_id": ""} == nothing.json() | {"request_id": ""}
    assert api.is_alive(stranger.access)


def test_logging_out_ends_this_session_alone(api: Api, user: Person, session: Tokens) -> None:
    other = api.sign_in(user.username, PASSWORD)

    answer = api.http.post("/logout", headers=bearer(session.access))

    assert (answer.status_code, answer.content) == (204, b"")
    assert not api.is_alive(session.access)
    assert_oauth_error(api.refresh(session.refresh), "invalid_grant")
    assert_bearer_error(api.http.post("/logout", headers=bearer(session.access)))
    assert api.is_alive(other.access)
    assert sids(api, other) == [other.claims["sid"]]


def test_logging_out_everywhere_ends_every_session_and_the_user_may_return(
    api: Api, actors: Actors, user: Person, session: Tokens
) -> None:
    others = [api.sign_in(user.username, PASSWORD) for _ in range(2)]
    stranger = api.sign_in(actors.user().username, PASSWORD)

    assert api.http.post("/logout/all", headers=bearer(session.access)).status_code == 204

    for dead in (session, *others):
        assert not api.is_alive(dead.access)
        assert_oauth_error(api.refresh(dead.refresh), "invalid_grant")
    assert api.is_alive(stranger.access)
    again = api.sign_in(user.username, PASSWORD)
    assert api.is_alive(again.access)
    assert sids(api, again) == [again.claims["sid"]]


def test_a_disabled_user_is_out_at_once(api: Api, actors: Actors, user: Person, session: Tokens) -> None:
    actors.disable_user(user)

    assert not api.is_alive(session.access)
    assert_bearer_error(api.me(session.access))
    assert_oauth_error(api.refresh(session.refresh), "invalid_grant")


# --- the password -----------------------------------------------------------------------------------------


def test_a_new_password_ends_every_other_session_and_this_one_goes_on(
    api: Api, user: Person, session: Tokens
) -> None:
    others = [api.sign_in(user.username, PASSWORD) for _ in range(2)]

    answer = change(api, session, PASSWORD, NEW)

    assert (answer.status_code, answer.json()) == (200, {"sessions_ended": 2})
    for other in others:
        assert not api.is_alive(other.access)
        assert_oauth_error(api.refresh(other.refresh), "invalid_grant")
    assert api.is_alive(session.access)
    assert api.refresh(session.refresh).status_code == 200
    assert_oauth_error(signing_in(api, user.username, PASSWORD), "invalid_grant")
    assert api.is_alive(api.sign_in(user.username, NEW).access)


@pytest.mark.parametrize(
    ("present", "new", "status"),
    [
        ("wrong", NEW, 403),
        (PASSWORD.upper(), NEW, 403),
        (PASSWORD, "short", 400),
        (PASSWORD, "seven77", 400),
        (PASSWORD, "x" * 1025, 400),
        (PASSWORD, "é" * 513, 400),
        ("wrong", "short", 400),
    ],
)
def test_a_wrong_or_weak_password_changes_nothing(
    api: Api, user: Person, session: Tokens, present: str, new: str, status: int
) -> None:
    other = api.sign_in(user.username, PASSWORD)

    assert_problem(change(api, session, present, new), status)

    assert api.is_alive(other.access)
    assert api.is_alive(api.sign_in(user.username, PASSWORD).access)


@pytest.mark.parametrize("new", ["eight888", "x" * 1024, "пароль🔒пароль", "  spaces  count  "])
def test_any_password_of_a_good_length_will_do(api: Api, user: Person, session: Tokens, new: str) -> None:
    assert change(api, session, PASSWORD, new).status_code == 200
    assert api.is_alive(api.sign_in(user.username, new).access)


# --- the pool of hashing threads --------------------------------------------------------------------------


def test_parameters_that_moved_on_renew_the_hash_at_the_next_sign_in_alone(
    deployment: Deployment, slow: Api, actors: Actors
) -> None:
    user = actors.user()

    def stored() -> str:
        rows = sql(deployment.database_url, "SELECT password_hash FROM users WHERE id = $1", user.id)
        return str(rows[0]["password_hash"])

    old = stored()
    assert_oauth_error(signing_in(slow, user.username, "wrong"), "invalid_grant")
    assert stored() == old
    session = slow.sign_in(user.username, PASSWORD)
    renewed = stored()
    assert slow.is_alive(session.access)
    slow.sign_in(user.username, PASSWORD)

    assert f"m={SLOW['password_memory_kib']},t={SLOW['password_iterations']}" in renewed
    assert stored() == renewed


def test_beyond_the_queue_there_is_a_503_and_everything_else_goes_on(slow: Api, actors: Actors) -> None:
    user = actors.user()
    session = slow.sign_in(user.username, PASSWORD)
    answers: list[httpx2.Response] = []
    together = threading.Barrier(8)

    def sign_in() -> None:
        with httpx2.Client(base_url=slow.http.base_url, timeout=30, verify=False) as http:
            together.wait(30)
            answers.append(signing_in(Api(http), user.username, PASSWORD))

    threads = [threading.Thread(target=sign_in) for _ in range(8)]
    for thread in threads:
        thread.start()
    looks = 0
    while any(thread.is_alive() for thread in threads):
        assert slow.me(session.access).status_code == 200
        assert slow.http.get("/healthz").status_code == 200
        looks += 1
    for thread in threads:
        thread.join(30)

    busy = [answer for answer in answers if answer.status_code == 503]
    assert busy
    assert {answer.status_code for answer in answers} == {200, 503}
    assert looks > 1
    for answer in busy:
        assert answer.json()["error"] == "temporarily_unavailable"
        assert int(answer.headers["retry-after"]) > 0
        assert answer.headers["cache-control"] == "no-store"
    # And the places are given back.
    assert signing_in(slow, user.username, PASSWORD).status_code == 200


SLOW = {
    "password_memory_kib": "65536",
    "password_iterations": "12",
    "password_parallelism": "1",
    "password_threads": "1",
    "password_queue": "1",
}


@pytest.fixture(scope="module")
def slow_server(deployment: Deployment) -> Iterator[Server]:
    """One worker that hashes slowly, and one password at a time."""
    with deployment.having(**SLOW).serving(workers=1) as running:
        yield running


@pytest.fixture
def slow(slow_server: Server) -> Iterator[Api]:
    with httpx2.Client(base_url=slow_server.url, timeout=30) as client:
        yield Api(client)


def test_the_default_parameters_are_not_those_of_tests() -> None:
    # RFC 9106 4: the second recommended option, and more lanes never fewer.
    defaults = {name: Settings.model_fields[name].default for name in SLOW}

    assert defaults["password_memory_kib"] >= 65536
    assert defaults["password_iterations"] >= 3
