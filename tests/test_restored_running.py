"""A restore under the feet of running workers: what comes back to life is killed again, and new sign-ins are good."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from service import embedded
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, Tokens, bearer, tokens
from tests.support.deployment import Deployment, drop_database, new_database, on_server
from tests.support.processes import eventually

LATER = "the password of later"


@pytest.fixture
def own(server_urls: tuple[str, str], tmp_path: Path) -> Iterator[Deployment]:
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path, "http://localhost:8000")
    made.prepare()
    yield made
    drop_database(server_urls[0], url)


def program(name: str, *arguments: str) -> None:
    subprocess.run([embedded.postgres_binary(name), *arguments], check=True, timeout=60, capture_output=True)


def restore(server_url: str, deployment: Deployment, backup: Path) -> None:
    """Put the database back as it was, under the feet of whoever uses it."""
    url = deployment.database_url
    name = url.rpartition("/")[2].partition("?")[0]
    on_server(server_url, f"DROP DATABASE {name} WITH (FORCE)")
    on_server(server_url, f"CREATE DATABASE {name}")
    program(
        "pg_restore", "--dbname", url, "--no-owner", "--exit-on-error", "--single-transaction", str(backup)
    )


def test_nothing_that_was_issued_before_is_taken_after_it_and_new_sign_ins_are(
    own: Deployment, server_urls: tuple[str, str], tmp_path: Path
) -> None:
    backup = tmp_path / "backup"
    actors = Actors(own)
    bob = actors.user()
    with own.serving(workers=2) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        api = Api(http)
        live, revoked, rotated, changed = (api.sign_in(bob.username, PASSWORD) for _ in range(4))
        program("pg_dump", "--format=custom", "--file", str(backup), own.database_url)

        # All that a deployment goes through in the time that the restore forgets.
        api.revoke(revoked.refresh)
        successor = tokens(api.refresh(rotated.refresh))
        body = {"current_password": PASSWORD, "new_password": LATER}
        assert http.post("/me/password", json=body, headers=bearer(changed.access)).status_code == 200
        later = api.sign_in(bob.username, LATER)
        actors.set_roles(bob)
        raised = api.sign_in(bob.username, LATER)
        unknown = api.sign_in(actors.user().username, PASSWORD)
        form = {"grant_type": "client_credentials"}
        service = tokens(http.post("/token", data=form, auth=("demo-service", "demo-service-secret")))
        everything = [live, revoked, rotated, changed, successor, later, raised, unknown]

        restore(server_urls[0], own, backup)

        eventually(lambda: api.refresh(revoked.refresh).status_code == 200, within=30)  # it lives again
        own.cli("restored")
        eventually(lambda: not taken(http, everything, service), within=20)
        eventually(lambda: all_have_heard(api, bob.username), within=20)
        new = api.sign_in(bob.username, PASSWORD)  # the restore took the later password back, too

        # It stays so, on whichever worker, for longer than any of them takes to look again.
        for _ in range(5):
            assert taken(http, everything, service) == []
            assert api.is_alive(new.access)
        assert tokens(api.refresh(new.refresh)).claims["sid"] == new.claims["sid"]
        assert http.get("/readyz").json()["parts"]["redis"]["problem"] is None

    assert "restored from a backup" in own.cli("sessions", "why", live.claims["sid"]).stdout


def all_have_heard(api: Api, username: str) -> bool:
    """Whether new tokens are good at each of the workers, as far as connections fall on both."""
    session = api.sign_in(username, PASSWORD)
    return all(api.introspect(session.access)["active"] for _ in range(10))


def taken(http: httpx2.Client, sessions: list[Tokens], service: Tokens) -> list[str]:
    """Which kinds of tokens are still taken. Refresh tokens are presented too: none of them may rotate."""
    api, kinds = Api(http), []
    for session in sessions:
        kinds += ["access"] if api.introspect(session.access)["active"] else []
        kinds += ["bearer"] if api.me(session.access).status_code != 401 else []
        kinds += ["refresh"] if api.refresh(session.refresh).status_code != 400 else []
    return kinds + (["service"] if api.introspect(service.access)["active"] else [])
