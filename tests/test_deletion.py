"""A deleted user leaves nothing that lives, whatever was under way; and a new one of the same name is another."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from uuid import UUID

import httpx2
import pytest

from service.account import administration as change
from service.users import store
from tests.support.actors import PASSWORD, Actors, Person
from tests.support.client import Api, Tokens, bearer, tokens
from tests.support.command import Command, at_a_terminal
from tests.support.database import fetch, sql, until_waiting
from tests.support.deployment import Deployment, Server
from tests.support.refusals import assert_bearer_error, assert_problem
from tests.test_races import Change, assert_dead, halfway, sign_in


@pytest.fixture
def user(actors: Actors) -> Person:
    return actors.user("editor")


@pytest.fixture
def own(welcoming: Server) -> Iterator[Api]:
    """The service where users may delete themselves."""
    with httpx2.Client(base_url=welcoming.url, timeout=30) as client:
        yield Api(client)


@pytest.fixture
async def http_async(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


def delete(deployment: Deployment) -> Change:
    return lambda revocations, user: change.delete_user(
        revocations, user, deployment.settings.revocation_lifetime
    )


def delete_me(api: Api, session: Tokens, password: str) -> httpx2.Response:
    body = {"current_password": password}
    return api.http.request("DELETE", "/me", json=body, headers=bearer(session.access))


def everything_of(deployment: Deployment, user_id: UUID) -> list[str]:
    """The tables that still have a row with this user's id."""
    columns = sql(
        deployment.database_url,
        "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' AND"
        " (column_name = 'user_id' OR (table_name, column_name) = ('users', 'id'))",
    )
    return [
        table
        for table, column in columns
        if sql(deployment.database_url, f'SELECT 1 FROM "{table}" WHERE "{column}" = $1', user_id)
    ]


def test_the_command_takes_everything_along_and_leaves_the_story(
    deployment: Deployment, api: Api, user: Person, command: Command
) -> None:
    sessions = [api.sign_in(user.username, PASSWORD) for _ in range(2)]

    done = command("users", "delete", user.username, "--yes")

    assert str(user.id) in done.stderr
    for session in sessions:
        assert_dead(api, session)
    assert everything_of(deployment, user.id) == ["audit_events"]
    events = sql(
        deployment.database_url, "SELECT * FROM audit_events WHERE user_id = $1 ORDER BY id", user.id
    )
    assert [event["event"] for event in events][-3:] == ["session.ended", "session.ended", "user.deleted"]
    assert user.username not in str([tuple(event) for event in events])
    assert "no user" in command.refused("users", "delete", user.username, "--yes")


def test_a_new_user_of_the_same_name_is_another_and_gets_nothing_of_the_old(
    api: Api, user: Person, command: Command
) -> None:
    before = api.sign_in(user.username, PASSWORD)
    command("users", "delete", user.username, "--yes")

    command("users", "add", user.username, "--password-stdin", stdin=f"{PASSWORD}\n")
    after = api.sign_in(user.username, PASSWORD)

    assert after.claims["sub"] != before.claims["sub"]
    assert after.claims["roles"] == []
    assert_dead(api, before)
    assert api.is_alive(after.access)


def test_without_a_yes_nobody_is_deleted(deployment: Deployment, user: Person, command: Command) -> None:
    assert "--yes" in command.refused("users", "delete", user.username)
    seen, code = at_a_terminal(deployment, ["users", "delete", user.username], ["n"])

    assert code == 1
    assert "Nothing was done." in seen
    assert "users" in everything_of(deployment, user.id)


def test_a_user_deletes_themselves_with_the_password_alone(
    deployment: Deployment, own: Api, user: Person
) -> None:
    session, other = (own.sign_in(user.username, PASSWORD) for _ in range(2))

    assert_problem(delete_me(own, session, "wrong"), 403)
    assert_problem(own.http.request("DELETE", "/me", json={}, headers=bearer(session.access)), 400)
    assert_bearer_error(own.http.request("DELETE", "/me", json={"current_password": PASSWORD}), told=False)
    assert own.is_alive(other.access)

    assert delete_me(own, session, PASSWORD).status_code == 204

    assert_dead(own, session)
    assert_dead(own, other)
    assert everything_of(deployment, user.id) == ["audit_events"]


def test_it_is_off_unless_it_is_said_to_be_on(api: Api, user: Person) -> None:
    assert_problem(delete_me(api, api.sign_in(user.username, PASSWORD), PASSWORD), 405)


@pytest.mark.anyio
async def test_a_sign_in_under_way_while_its_user_is_deleted_fails(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient
) -> None:
    async with halfway(deployment, user, delete(deployment)) as finish:
        under_way = asyncio.create_task(sign_in(http_async, user))
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = await under_way

    assert answer.json()["error"] == "invalid_grant"
    assert await fetch(deployment.database_url, "SELECT 1 FROM sessions WHERE user_id = $1", user.id) == []


@pytest.mark.anyio
async def test_a_refresh_under_way_while_its_user_is_deleted_gives_nothing(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient, api: Api
) -> None:
    session = tokens(await sign_in(http_async, user))

    async with halfway(deployment, user, delete(deployment)) as finish:
        under_way = asyncio.create_task(http_async.post("/refresh", json={"refresh_token": session.refresh}))
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = await under_way

    assert answer.json()["error"] == "invalid_grant"
    assert_dead(api, session)


@pytest.mark.anyio
async def test_a_refresh_that_was_first_gives_tokens_that_end_with_its_user(
    deployment: Deployment, user: Person, api: Api
) -> None:
    successor = tokens(api.refresh(api.sign_in(user.username, PASSWORD).refresh))

    async with deployment.operator() as (_, revocations):
        assert await delete(deployment)(revocations, user.id)

    assert_dead(api, successor)


@pytest.mark.anyio
async def test_a_password_change_under_way_while_its_user_is_deleted_finds_nobody(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient
) -> None:
    session = tokens(await sign_in(http_async, user))
    body = {"current_password": PASSWORD, "new_password": "another password"}

    async with halfway(deployment, user, delete(deployment)) as finish:
        under_way = asyncio.create_task(
            http_async.post("/me/password", json=body, headers=bearer(session.access))
        )
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = await under_way

    assert answer.status_code == 409
    assert await fetch(deployment.database_url, "SELECT 1 FROM users WHERE id = $1", user.id) == []


@pytest.mark.anyio
@pytest.mark.parametrize("meanwhile", ["the password is reset", "the session ends", "the user is disabled"])
async def test_a_user_who_was_proved_before_a_change_deletes_nothing_after_it(
    deployment: Deployment, user: Person, api: Api, meanwhile: str
) -> None:
    session = UUID(api.sign_in(user.username, PASSWORD).claims["sid"])
    lifetime = deployment.settings.revocation_lifetime
    async with deployment.operator() as (database, revocations):
        async with database.connect() as db:
            read = await store.by_id(db, user.id)
        assert read is not None
        match meanwhile:
            case "the password is reset":
                await change.reset_password(revocations, user.id, read.password_hash or "", lifetime)
            case "the session ends":
                await change.sign_out(revocations, session, "logout", lifetime)
            case _:
                await change.disable_user(revocations, user.id, lifetime)
        assert not await change.delete_user(revocations, user.id, lifetime, proved=(read, session))

    assert await fetch(deployment.database_url, "SELECT 1 FROM users WHERE id = $1", user.id)
