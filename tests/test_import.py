"""Users of another system: all lines or none, once, with passwords that go on working and become ours."""

import json
import time
import tracemalloc
from pathlib import Path
from typing import Any

import httpx2
import pytest

from tests.support.actors import READER, Actors
from tests.support.client import Api, unique
from tests.support.command import Command
from tests.support.database import sql
from tests.support.deployment import Deployment
from tests.support.refusals import assert_oauth_error
from tests.test_hashes import MADE, PASSWORD


class Importing:
    """Writes files and imports them."""

    def __init__(self, command: Command, folder: Path, deployment: Deployment) -> None:
        self._command = command
        self._file = folder / "users.jsonl"
        self._url = deployment.database_url

    def __call__(self, *users: dict[str, Any] | str, options: tuple[str, ...] = ()) -> str:
        self.write(*users)
        return self.run(*options)

    def run(self, *options: str) -> str:
        return self._command("users", "import", str(self._file), *options).stderr

    def refused(self, *users: dict[str, Any] | str) -> str:
        self.write(*users)
        return self._command.refused("users", "import", str(self._file))

    def stored(self, username: str) -> Any:
        rows = sql(self._url, "SELECT * FROM users WHERE username = $1", username)
        return rows[0] if rows else None

    def write(self, *users: dict[str, Any] | str) -> None:
        lines = [user if isinstance(user, str) else json.dumps(user) for user in users]
        self._file.write_text("".join(f"{line}\n" for line in lines))


@pytest.fixture
def importing(command: Command, tmp_path: Path, deployment: Deployment) -> Importing:
    return Importing(command, tmp_path, deployment)


@pytest.mark.parametrize("kind", MADE)
def test_a_password_of_each_kind_signs_in_and_is_ours_from_then_on(
    importing: Importing, api: Api, http: httpx2.Client, kind: str
) -> None:
    name = unique("imported")
    importing({"username": name, "roles": ["editor"], "password_hash": MADE[kind][0]})
    form = {"grant_type": "password", "client_id": "demo-app", "username": name}

    assert_oauth_error(http.post("/token", data={**form, "password": "wrong"}), "invalid_grant")
    before = importing.stored(name)
    session = api.sign_in(name, PASSWORD)
    after = importing.stored(name)
    again = api.sign_in(name, PASSWORD)

    assert session.claims["roles"] == ["editor"]
    assert before["password_hash"] == MADE[kind][0]
    assert after["password_hash"].startswith("$argon2id$v=19$m=256,t=1,p=1$")
    assert after["password_changed_at"] == before["password_changed_at"]
    assert importing.stored(name)["password_hash"] == after["password_hash"]
    assert again.claims["sub"] == session.claims["sub"]


def test_a_wrong_password_for_an_imported_user_looks_like_an_unknown_user(
    importing: Importing, http: httpx2.Client
) -> None:
    name = unique("imported")
    importing({"username": name, "password_hash": MADE["bcrypt 2b"][0]})
    form = {"grant_type": "password", "client_id": "demo-app", "password": "wrong"}

    known, unknown = (http.post("/token", data={**form, "username": who}) for who in (name, unique("nobody")))

    assert known.status_code == unknown.status_code
    assert known.content == unknown.content
    assert known.headers.keys() == unknown.headers.keys()


def test_everything_that_is_said_of_a_user_is_taken_over(
    importing: Importing, deployment: Deployment
) -> None:
    name = unique("Imported")
    email = f"{name}@Example.com"

    said = importing(
        {
            "username": name,
            "email": email,
            "roles": ["editor", READER],
            "disabled": True,
            "password_hash": None,
        },
        "",
        {"username": unique("imported")},
    )

    assert said == "Imported 2, updated 0, skipped 0.\n"
    stored = importing.stored(name.lower())
    assert stored["email"] == email.lower()
    assert stored["roles"] == ["editor", READER]
    assert stored["disabled_at"] is not None
    assert stored["password_hash"] is None
    [told] = sql(deployment.database_url, "SELECT event FROM audit_events WHERE user_id = $1", stored["id"])
    assert told["event"] == "user.imported"


def test_the_same_file_once_more_changes_nothing(importing: Importing, api: Api) -> None:
    name = unique("imported")
    user = {"username": name, "roles": ["editor"], "password_hash": MADE["django"][0]}
    importing(user)
    api.sign_in(name, PASSWORD)
    before = importing.stored(name)

    assert importing(user) == "Imported 0, updated 0, skipped 1.\n"
    assert importing(user, options=("--update",)) == "Imported 0, updated 0, skipped 1.\n"
    assert tuple(importing.stored(name)) == tuple(before)


def test_an_update_brings_what_is_said_and_leaves_a_password_that_was_used_here(
    importing: Importing, api: Api
) -> None:
    used, unused = unique("imported"), unique("imported")
    importing(*({"username": name, "password_hash": MADE["django"][0]} for name in (used, unused)))
    session = api.sign_in(used, PASSWORD)
    ours = importing.stored(used)["password_hash"]

    said = importing(
        *(
            {"username": name, "roles": [READER], "password_hash": MADE["bcrypt 2b"][0]}
            for name in (used, unused)
        ),
        options=("--update",),
    )

    assert said == "Imported 0, updated 2, skipped 0.\n"
    assert importing.stored(used)["password_hash"] == ours
    assert importing.stored(unused)["password_hash"] == MADE["bcrypt 2b"][0]
    assert importing.stored(used)["roles"] == [READER]
    assert not api.is_alive(session.access)
    assert api.refresh(session.refresh).status_code == 200


def test_an_update_that_disables_ends_every_session(importing: Importing, api: Api, actors: Actors) -> None:
    user = actors.user()
    session = api.sign_in(user.username, "correct horse battery staple")

    importing({"username": user.username, "disabled": True}, options=("--update",))

    assert not api.is_alive(session.access)
    assert api.refresh(session.refresh).json()["error"] == "invalid_grant"


def test_a_dry_run_says_what_would_be_done_and_does_nothing(importing: Importing) -> None:
    name = unique("imported")

    assert importing({"username": name}, options=("--dry-run",)) == "Would import 1, update 0, skip 0.\n"
    assert importing.stored(name) is None


SECRET = "hushhush"
FIRST = "FIRST"
"""Stands for the name of the user on the first line."""


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        (f"{{{SECRET}", "JSON"),
        ("[1]", "JSON object"),
        ({"username": "x", "pasword_hash": SECRET}, "no other members"),
        ({"email": "a@example.com"}, "username"),
        ({"username": f"{SECRET}@example.com"}, "username"),
        ({"username": SECRET * 10}, "username"),
        ({"username": "x\u0000"}, "control characters"),
        ({"username": "x", "roles": "editor"}, "array"),
        ({"username": "x", "roles": ["nothing-like-it"]}, "sealwright roles list"),
        ({"username": "x", "disabled": "no"}, "true or false"),
        ({"username": "x", "password_hash": f"$1${SECRET}"}, "none of"),
        (
            {"username": "x", "password_hash": f"$argon2id$v=19$m=99999999,t=1,p=1$c2FsdHNhbHQ${SECRET}"},
            "memory",
        ),
        ({"username": FIRST}, "earlier line"),
        ({"username": "x", "email": f"{FIRST}@EXAMPLE.com"}, "email address already"),
        ({"username": "x", "email": SECRET}, "one @"),
        ({"username": "x", "email": "y" * 20_000}, "longer"),
    ],
)
def test_one_bad_line_is_named_and_nothing_is_imported(
    importing: Importing, bad: dict[str, Any] | str, why: str
) -> None:
    name = unique("imported")
    first = {"username": name, "email": f"{name}@example.com"}
    line = (bad if isinstance(bad, str) else json.dumps(bad)).replace(FIRST, name.upper())

    said = importing.refused(first, {"username": unique("imported")}, line, {"username": unique("imported")})

    assert said.startswith("Line 3: ")
    assert why in said
    assert said.endswith("Nothing was imported.\n")
    assert SECRET not in said
    assert importing.stored(name) is None


def test_a_file_that_is_not_there_is_one_line(command: Command, tmp_path: Path) -> None:
    assert "No such file" in command.refused("users", "import", str(tmp_path / "nothing"))


def test_many_users_take_little_memory_and_time(importing: Importing, deployment: Deployment) -> None:
    # A tenth of the promise's 100,000, so that everybody can wait for it.
    prefix = unique("many")
    importing.write(
        *(
            {
                "username": f"{prefix}-{n}",
                "email": f"{prefix}-{n}@example.com",
                "password_hash": MADE["django"][0],
            }
            for n in range(10_000)
        )
    )

    tracemalloc.start()
    began = time.monotonic()
    said = importing.run()
    took, (_, peak) = time.monotonic() - began, tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert said == "Imported 10,000, updated 0, skipped 0.\n"
    assert took < 60
    assert peak < 16 * 1024 * 1024
    [count] = sql(deployment.database_url, "SELECT count(*) FROM users WHERE username LIKE $1", f"{prefix}-%")
    assert count["count"] == 10_000
