"""Sign-ins and refreshes under way while a user is shut out: each order is forced, none leaves a live token."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from uuid import UUID

import httpx2
import pytest

from service.account import administration as change
from service.cli import demo
from service.revocation import Revocations
from service.users import store
from service.users.passwords import Passwords
from tests.support.actors import PASSWORD, Actors, Person
from tests.support.client import Api, Tokens, tokens
from tests.support.database import fetch, held, until_waiting
from tests.support.deployment import Deployment, Server

pytestmark = pytest.mark.anyio

Change = Callable[[Revocations, UUID], Awaitable[object]]

HEAD = "SELECT 1 FROM revocation_head FOR UPDATE"


@pytest.fixture
def user(actors: Actors) -> Person:
    return actors.user("editor")


@pytest.fixture
async def http_async(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
        yield client


@asynccontextmanager
async def halfway(
    deployment: Deployment, user: Person, made: Change
) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """Bring a change of the user to just before its commit; the yielded function lets it finish.

    Every change takes its revocation's number last, so it is held there, its rows already changed.
    """
    async with deployment.operator() as (_, revocations), held(deployment.database_url, HEAD) as release:
        task = asyncio.ensure_future(made(revocations, user.id))
        await until_waiting(deployment.database_url, 1)

        async def finish() -> None:
            await release()
            await task

        yield finish


def disable(deployment: Deployment) -> Change:
    return lambda revocations, user: change.disable_user(
        revocations, user, deployment.settings.revocation_lifetime
    )


def sign_out(deployment: Deployment) -> Change:
    return lambda revocations, user: change.sign_out_everywhere(
        revocations, user, deployment.settings.revocation_lifetime
    )


def demote(deployment: Deployment) -> Change:
    return lambda revocations, user: change.set_roles(
        revocations, user, [], deployment.settings.revocation_lifetime
    )


def reset_password(deployment: Deployment) -> Change:
    async def made(revocations: Revocations, user: UUID) -> object:
        passwords = Passwords(deployment.settings)
        try:
            hashed = await passwords.hash("another password")
        finally:
            passwords.close()
        return await change.reset_password(revocations, user, hashed, deployment.settings.revocation_lifetime)

    return made


async def sign_in(http: httpx2.AsyncClient, user: Person) -> httpx2.Response:
    form = {
        "grant_type": "password",
        "client_id": demo.APP.client_id,
        "username": user.username,
        "password": PASSWORD,
    }
    return await http.post("/token", data=form)


@pytest.mark.parametrize("shut_out", [disable, reset_password])
async def test_a_sign_in_under_way_while_its_user_is_shut_out_fails(
    deployment: Deployment,
    user: Person,
    http_async: httpx2.AsyncClient,
    shut_out: Callable[[Deployment], Change],
) -> None:
    async with halfway(deployment, user, shut_out(deployment)) as finish:
        under_way = asyncio.create_task(sign_in(http_async, user))
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = await under_way

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"


async def test_a_sign_in_under_way_while_its_user_is_signed_out_everywhere_is_made_anew_after_it(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient, api: Api
) -> None:
    async with halfway(deployment, user, sign_out(deployment)) as finish:
        under_way = asyncio.create_task(sign_in(http_async, user))
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = tokens(await under_way)

    assert answer.claims["uep"] == 1
    assert api.is_alive(answer.access)


async def test_a_sign_in_that_was_first_is_ended_by_what_shuts_its_user_out(
    deployment: Deployment, user: Person, api: Api
) -> None:
    session = api.sign_in(user.username, PASSWORD)

    async with deployment.operator() as (_, revocations):
        await disable(deployment)(revocations, user.id)

    assert_dead(api, session)


@pytest.mark.parametrize("shut_out", [disable, sign_out, reset_password])
async def test_a_refresh_under_way_while_its_user_is_shut_out_gives_nothing(
    deployment: Deployment,
    user: Person,
    http_async: httpx2.AsyncClient,
    api: Api,
    shut_out: Callable[[Deployment], Change],
) -> None:
    session = api.sign_in(user.username, PASSWORD)

    async with halfway(deployment, user, shut_out(deployment)) as finish:
        under_way = asyncio.create_task(http_async.post("/refresh", json={"refresh_token": session.refresh}))
        await until_waiting(deployment.database_url, 2)
        await finish()
        answer = await under_way

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"
    assert_dead(api, session)


@pytest.mark.parametrize("shut_out", [disable, sign_out, reset_password])
async def test_a_refresh_that_was_first_gives_tokens_that_end_with_its_session(
    deployment: Deployment, user: Person, api: Api, shut_out: Callable[[Deployment], Change]
) -> None:
    session = api.sign_in(user.username, PASSWORD)
    successor = tokens(api.refresh(session.refresh))

    async with deployment.operator() as (_, revocations):
        await shut_out(deployment)(revocations, user.id)

    assert_dead(api, session)
    assert_dead(api, successor)


async def test_a_refresh_that_read_the_old_roles_before_a_demotion_gives_a_token_that_is_dead_after_it(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient, api: Api
) -> None:
    session = api.sign_in(user.username, PASSWORD)

    async with halfway(deployment, user, demote(deployment)) as finish:
        # The demotion is written, not committed: this refresh still reads the old roles, and is not held up.
        early = tokens(await http_async.post("/refresh", json={"refresh_token": session.refresh}))
        assert early.claims["roles"] == ["editor"]
        await finish()

    assert not api.is_alive(early.access)
    later = tokens(api.refresh(early.refresh))
    assert later.claims["roles"] == []
    assert later.body["scope"] == "account"
    assert api.is_alive(later.access)


async def test_a_password_changed_by_its_user_ends_a_sign_in_with_the_old_one(
    deployment: Deployment, user: Person, http_async: httpx2.AsyncClient, server: Server
) -> None:
    own = tokens(await sign_in(http_async, user))
    body = {"current_password": PASSWORD, "new_password": "another password"}

    async with held(deployment.database_url, HEAD) as release:
        # A session for it to end, or it would need no number to be held at.
        other = tokens(await sign_in(http_async, user))
        changing = asyncio.create_task(
            http_async.post("/me/password", json=body, headers={"Authorization": f"Bearer {own.access}"})
        )
        await until_waiting(deployment.database_url, 1)
        under_way = asyncio.create_task(sign_in(http_async, user))
        await until_waiting(deployment.database_url, 2)
        await release()
        changed, answer = await changing, await under_way

    assert changed.json() == {"sessions_ended": 1}
    assert answer.json()["error"] == "invalid_grant"
    with httpx2.Client(base_url=server.url, timeout=30) as http:
        api = Api(http)
        assert api.is_alive(own.access)
        assert_dead(api, other)


@pytest.mark.parametrize("ended", ["its user is shut out", "its session ends"])
async def test_a_password_change_under_way_sets_nothing_if_meanwhile(
    deployment: Deployment, user: Person, api: Api, ended: str
) -> None:
    session = UUID(api.sign_in(user.username, PASSWORD).claims["sid"])
    lifetime = deployment.settings.revocation_lifetime
    async with deployment.operator() as (database, revocations):
        async with database.connect() as db:
            read = await store.by_id(db, user.id)
        assert read is not None
        # Both hashes of the change are computed now; before it is written, this:
        if ended == "its session ends":
            await change.sign_out(revocations, session, "logout", lifetime)
        else:
            await change.disable_user(revocations, user.id, lifetime)
            await change.enable_user(revocations, user.id, lifetime)
        done = await change.change_password(revocations, read, "another", session, lifetime, address=None)

    assert done is None
    assert api.is_alive(api.sign_in(user.username, PASSWORD).access)


async def test_two_at_once_who_shut_out_the_same_user_do_not_wait_for_each_other_forever(
    deployment: Deployment, user: Person, api: Api
) -> None:
    sessions = [api.sign_in(user.username, PASSWORD) for _ in range(5)]

    async with deployment.operator() as (_, one), deployment.operator() as (_, two):
        await asyncio.gather(
            disable(deployment)(one, user.id), *(sign_out(deployment)(two, user.id) for _ in range(2))
        )

    for session in sessions:
        assert_dead(api, session)


async def test_an_enabled_user_signs_in_again_and_what_was_before_stays_dead(
    deployment: Deployment, user: Person, api: Api
) -> None:
    before = api.sign_in(user.username, PASSWORD)
    async with deployment.operator() as (database, revocations):
        await disable(deployment)(revocations, user.id)
        await change.enable_user(revocations, user.id, deployment.settings.revocation_lifetime)
        async with database.connect() as db:
            found = await store.by_id(db, user.id)

    assert found is not None
    assert found.epoch == 1
    assert_dead(api, before)
    assert api.is_alive(api.sign_in(user.username, PASSWORD).access)


@pytest.mark.parametrize("changed", [demote, reset_password, sign_out])
async def test_a_disabled_user_whose_record_is_changed_stays_shut_out_whatever_the_epoch(
    deployment: Deployment, user: Person, changed: Callable[[Deployment], Change]
) -> None:
    async with deployment.operator() as (_, revocations):
        await disable(deployment)(revocations, user.id)
        await changed(deployment)(revocations, user.id)

    rows = await fetch(
        deployment.database_url, "SELECT epoch FROM revocations WHERE subject = $1", str(user.id)
    )
    assert [row["epoch"] for row in rows] == [None]


def assert_dead(api: Api, session: Tokens) -> None:
    assert not api.is_alive(session.access)
    assert api.refresh(session.refresh).json()["error"] == "invalid_grant"
