"""`sealwright sessions`: the story of each, and its end."""

import asyncio
from uuid import uuid4

import pytest

from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, tokens
from tests.support.command import Command
from tests.support.database import sql, until
from tests.support.deployment import Deployment


def test_list_tells_the_story_of_each_session(command: Command, api: Api, actors: Actors) -> None:
    user = actors.user()
    first = api.sign_in(user.username, PASSWORD)
    tokens(api.refresh(first.refresh))
    tokens(api.refresh(first.refresh))
    second = api.sign_in(user.username, PASSWORD)

    newest, oldest = command.json("sessions", "list", "--user", f"{user.username}@example.com")

    assert (newest["sid"], oldest["sid"]) == (second.claims["sid"], first.claims["sid"])
    assert (oldest["generation"], oldest["replays"], newest["generation"]) == (1, 1, 0)
    assert oldest["refreshed_at"] > oldest["started_at"]
    assert oldest["client_id"] == "demo-app"
    assert oldest["alive"]
    assert newest["sid"] in command("sessions", "list", "--user", user.username).stdout
    assert second.claims["jti"] not in str(newest)
    assert second.jti not in str(newest)


def test_a_revoked_session_is_over_when_the_command_has_ended(
    deployment: Deployment, command: Command, api: Api, actors: Actors
) -> None:
    user = actors.user()
    revoked, spared = (api.sign_in(user.username, PASSWORD) for _ in range(2))
    sid = revoked.claims["sid"]

    done = deployment.cli("sessions", "revoke", sid)

    assert done.stderr == f"Session {sid} is ended.\n"
    assert not api.is_alive(revoked.access)
    assert api.refresh(revoked.refresh).status_code == 400
    assert api.is_alive(spared.access)
    [alive] = command.json("sessions", "list", "--user", user.username)
    assert alive["sid"] == spared.claims["sid"]
    ended = command.json("sessions", "list", "--user", user.username, "--ended")[1]
    assert (ended["sid"], ended["end_reason"], ended["alive"]) == (sid, "administrator", False)
    assert "administrator" in command("sessions", "list", "--user", user.username, "--ended").stdout
    assert "had ended before" in command("sessions", "revoke", sid).stderr


def test_a_user_is_signed_out_everywhere(deployment: Deployment, api: Api, actors: Actors) -> None:
    user, other = actors.user(), actors.user()
    its = [api.sign_in(user.username, PASSWORD) for _ in range(2)]
    others = api.sign_in(other.username, PASSWORD)

    deployment.cli("sessions", "revoke", "--user", user.username)

    assert not any(api.is_alive(token.access) for token in its)
    assert [api.refresh(token.refresh).status_code for token in its] == [400, 400]
    assert api.is_alive(others.access)
    assert api.is_alive(api.sign_in(user.username, PASSWORD).access)


def test_a_session_is_revoked_without_redis_within_a_second(
    deployment: Deployment, command: Command, api: Api, actors: Actors
) -> None:
    user = actors.user()
    token = api.sign_in(user.username, PASSWORD)
    assert api.is_alive(token.access)

    command.of(deployment.having(redis_url="redis://127.0.0.1:1/0"))
    said = command("sessions", "revoke", token.claims["sid"]).stderr

    assert "Redis cannot be reached" in said
    assert "from Postgres, within a second" in said

    async def alive() -> bool:
        return bool(api.introspect(token.access)["active"])

    asyncio.run(until(alive, lambda is_alive: not is_alive, "the workers have learned of it"))


def test_the_sessions_of_a_disabled_client_are_not_alive(command: Command, api: Api, actors: Actors) -> None:
    user, client = actors.user(), actors.client()
    api.sign_in(user.username, PASSWORD, **client.form)
    actors.disable_client(client)

    assert command.json("sessions", "list", "--user", user.username) == []
    [session] = command.json("sessions", "list", "--user", user.username, "--ended")
    assert not session["alive"]


def test_a_long_list_says_that_there_is_more(command: Command, api: Api, actors: Actors) -> None:
    user = actors.user()
    for _ in range(2):
        api.sign_in(user.username, PASSWORD)

    cut = command("sessions", "list", "--user", user.username, "--limit", "1")

    assert cut.stdout.count("\n") == 2
    assert "more than 1" in cut.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "--user", "nobody"], "no user 'nobody'; see: sealwright users list"),
        (["revoke", "--user", "nobody"], "no user 'nobody'"),
        (["revoke", "nonsense"], "no session 'nonsense'; see: sealwright sessions list"),
        (["revoke", str(uuid4())], "no session '"),
        (["revoke"], "either one session, by its sid, or --user"),
        (["revoke", str(uuid4()), "--user", "alice"], "either one session, by its sid, or --user"),
    ],
)
def test_a_refusal_is_one_line_and_revokes_nothing(
    command: Command, deployment: Deployment, arguments: list[str], said: str
) -> None:
    number = "SELECT number FROM revocation_head"
    before = sql(deployment.database_url, number)

    assert said in command.refused("sessions", *arguments)
    assert sql(deployment.database_url, number) == before
