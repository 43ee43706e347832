"""`sealwright users`: what an operator does counts on a running service when the command has ended."""

import httpx2
import pytest

from tests.support.actors import PASSWORD, READER, Actors
from tests.support.client import Api, unique
from tests.support.command import Command, at_a_terminal
from tests.support.database import sql
from tests.support.deployment import Deployment


def refused_sign_in(http: httpx2.Client, username: str, password: str = PASSWORD) -> bool:
    form = {"grant_type": "password", "client_id": "demo-app", "username": username, "password": password}
    answer = http.post("/token", data=form)
    return answer.status_code == 400 and answer.json()["error"] == "invalid_grant"


def test_a_user_added_by_the_command_can_sign_in(deployment: Deployment, api: Api) -> None:
    name = unique("Carol")
    arguments = ("--email", f"{name}@Example.com", "--role", "editor", "--role", READER)
    done = deployment.cli("users", "add", name, *arguments, "--password-stdin", stdin=f"{PASSWORD}\n")

    assert PASSWORD not in done.stdout + done.stderr
    assert api.sign_in(name.lower(), PASSWORD).claims["roles"] == ["editor", READER]
    assert api.sign_in(f"{name}@example.com", PASSWORD).body["scope"]
    [told] = sql(
        deployment.database_url,
        "SELECT detail FROM audit_events JOIN users ON users.id = user_id WHERE username = $1 AND event = 'user.added'",
        name.lower(),
    )
    assert told["detail"] == f"editor {READER}"


def test_a_disabled_user_is_shut_out_when_the_command_has_ended(
    deployment: Deployment, api: Api, http: httpx2.Client, actors: Actors
) -> None:
    user = actors.user()
    before = api.sign_in(user.username, PASSWORD)
    assert api.is_alive(before.access)

    deployment.cli("users", "disable", user.username)

    assert not api.is_alive(before.access)
    assert api.refresh(before.refresh).status_code == 400
    assert refused_sign_in(http, user.username)

    deployment.cli("users", "enable", f"{user.username}@example.com")

    assert api.is_alive(api.sign_in(user.username, PASSWORD).access)
    assert not api.is_alive(before.access)
    assert api.refresh(before.refresh).status_code == 400


def test_other_roles_kill_the_old_token_and_the_next_refresh_has_them(
    deployment: Deployment, api: Api, actors: Actors
) -> None:
    user = actors.user("editor")
    before = api.sign_in(user.username, PASSWORD)

    done = deployment.cli("users", "roles", user.username, READER)

    assert done.stderr == f"{user.username} was editor, is {READER} now.\n"
    assert not api.is_alive(before.access)
    answer = api.refresh(before.refresh).json()
    assert answer["scope"] == "account orders:read"
    assert api.is_alive(answer["access_token"])
    assert api.me(answer["access_token"]).json()["roles"] == [READER]


def test_a_password_reset_ends_every_session(
    deployment: Deployment, api: Api, http: httpx2.Client, actors: Actors
) -> None:
    user = actors.user()
    first, second = (api.sign_in(user.username, PASSWORD) for _ in range(2))

    deployment.cli("users", "password", user.username, "--password-stdin", stdin="another password\r\n")

    assert not api.is_alive(first.access)
    assert not api.is_alive(second.access)
    assert api.refresh(second.refresh).status_code == 400
    assert refused_sign_in(http, user.username)
    assert api.is_alive(api.sign_in(user.username, "another password").access)


def test_at_a_terminal_the_password_is_typed_twice_and_never_seen(deployment: Deployment, api: Api) -> None:
    name = unique("dora")
    typed = ["hidden words", "hiden words", "hidden words", "hidden words"]
    seen, code = at_a_terminal(deployment, ["users", "add", name], typed)

    assert code == 0, seen
    assert "words" not in seen
    assert f"New password for {name}" in seen
    assert seen.count("Repeat for confirmation") == 2
    assert api.sign_in(name, "hidden words").access


def test_a_user_without_a_password_cannot_sign_in_until_one_is_set(
    command: Command, api: Api, http: httpx2.Client
) -> None:
    name = unique("eve")
    added = command.json("users", "add", name, "--no-password")
    assert (added["username"], added["has_password"], added["roles"]) == (name, False, [])
    assert refused_sign_in(http, name)

    command("users", "password", name, "--password-stdin", stdin=PASSWORD)

    assert api.me(api.sign_in(name, PASSWORD).access).json()["sub"] == added["id"]


def test_roles_are_shown_and_left_alone_unless_it_is_said_which(command: Command, actors: Actors) -> None:
    user = actors.user("editor", READER)

    assert f"is editor and {READER}. Name all the roles" in command.refused("users", "roles", user.username)
    assert "Name all" in command.refused("users", "roles", user.username, READER, "--none")
    assert "already" in command("users", "roles", user.username, READER, "editor").stderr
    assert "There is no role 'nonsense'" in command.refused("users", "roles", user.username, "nonsense")
    assert command("users", "roles", user.username, "--none").stderr.endswith("is without a role now.\n")
    assert "is without a role." in command.refused("users", "roles", user.username)


def test_what_is_so_already_is_no_error(command: Command, actors: Actors) -> None:
    user = actors.user()

    assert "enabled already" in command("users", "enable", user.username).stderr
    assert "every session is ended" in command("users", "disable", user.username).stderr
    assert "disabled already" in command("users", "disable", user.username).stderr


def test_list_shows_everybody_and_no_hash(command: Command, actors: Actors) -> None:
    user = actors.user()
    users = {item["username"]: item for item in command.json("users", "list")}

    assert users[user.username]["id"] == str(user.id)
    assert users[user.username]["has_password"]
    assert not users[user.username]["disabled"]
    assert "argon2" not in str(users)
    assert user.username in command("users", "list").stdout
    cut = command("users", "list", "--limit", "1")
    assert cut.stdout.count("\n") == 2
    assert "more than 1" in cut.stderr


def test_a_name_cannot_command_the_terminal(command: Command) -> None:
    name = unique("[red]\u202e[/nonsense]")
    command("users", "add", name, "--no-password")

    assert name.replace("\u202e", "\\u202e") in command("users", "list").stdout


@pytest.mark.parametrize(
    ("arguments", "stdin", "said"),
    [
        (["add", "ALICE", "--no-password"], "", "username is taken"),
        (["add", "x", "--email", "Alice@example.com", "--no-password"], "", "this email address already"),
        (["add", "x", "--email", "nonsense", "--no-password"], "", "has one @"),
        (["add", "x@y", "--no-password"], "", "without @"),
        (["add", "x" * 65, "--no-password"], "", "1 to 64"),
        (
            ["add", "x", "--role", "nonsense", "--no-password"],
            "",
            "no role 'nonsense'; see: sealwright roles",
        ),
        (["add", "x", "--password-stdin"], "short\n", "too short"),
        (["add", "x", "--password-stdin"], "", "nothing on stdin"),
        (["add", "x", "--password-stdin"], "a\tcontrol character\n", "control character"),
        (["add", "x", "--password-stdin", "--no-password"], PASSWORD, "Choose one"),
        (["add", "x"], PASSWORD, "no terminal to ask on: pipe the password in, with --password-stdin"),
        (
            ["password", "nobody", "--password-stdin"],
            PASSWORD,
            "no user 'nobody'; see: sealwright users list",
        ),
        (["password", "alice", "--password-stdin"], "short\n", "too short"),
        (["disable", "nobody"], "", "no user 'nobody'"),
        (["enable", "nobody"], "", "no user 'nobody'"),
        (["roles", "nobody", "editor"], "", "no user 'nobody'"),
    ],
)
def test_a_refusal_is_one_line_that_says_what_is_wrong(
    command: Command, arguments: list[str], stdin: str, said: str
) -> None:
    assert said in command.refused("users", *arguments, stdin=stdin)
    assert "x" not in {item["username"] for item in command.json("users", "list")}


def test_a_password_is_never_an_argument(deployment: Deployment) -> None:
    done = deployment.cli("users", "add", "x", "--password", PASSWORD, check=False)

    assert done.returncode == 2
    assert "No such option" in done.stderr
    assert PASSWORD not in done.stderr


def test_what_is_not_text_is_refused_and_not_looked_up(deployment: Deployment) -> None:
    argument = deployment.cli("users", "disable", "\udcff", check=False)
    assert (argument.returncode, argument.stderr) == (1, "An argument is not UTF-8 text.\n")


def test_without_postgres_or_settings_a_line_says_so(
    command: Command, deployment: Deployment, tmp_path_factory: pytest.TempPathFactory
) -> None:
    command.of(deployment.having(database_url="postgresql://nobody@127.0.0.1:1/none"))
    assert "Postgres cannot be reached" in command.refused("users", "list")

    command.without_settings(tmp_path_factory.mktemp("empty"))
    assert "SEALWRIGHT_DATABASE_URL is not set" in command("users", "list", code=1).stderr
