"""Upgrading without downtime: the release before works on this schema, beside this release, on the same Redis."""

import asyncio
import io
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx2
import pytest

from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, bearer, tokens
from tests.support.database import fetch, until
from tests.support.deployment import Deployment, Server

ROOT = Path(__file__).parent.parent

FIRST_OF_THIS_RELEASE = "migrations/versions/0002_signing_keys.py"
"""The release before is the code as it was before this migration came."""


def git(*arguments: str) -> bytes:
    return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, check=True, timeout=60).stdout


@pytest.fixture(scope="module")
def release_before(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code of the release before, unpacked."""
    try:
        added = git("log", "--diff-filter=A", "--format=%H", "--", FIRST_OF_THIS_RELEASE).decode().split()
        archive = git("archive", "--format=zip", f"{added[-1]}^", "service", "migrations", "verifier")
    except (FileNotFoundError, IndexError, subprocess.CalledProcessError):
        pytest.skip("no git history here that holds the release before: run this in a full clone")
    folder = tmp_path_factory.mktemp("release-before")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def old_deployment(deployment: Deployment, release_before: Path) -> Deployment:
    """The deployment of all tests, served by the release before."""
    path = f"{release_before}:{release_before / 'verifier' / 'src'}"
    return replace(deployment, extra={**deployment.extra, "PYTHONPATH": path}).having(janitor_interval="0.1")


@pytest.fixture(scope="module")
def old_server(old_deployment: Deployment) -> Iterator[Server]:
    with old_deployment.serving(workers=1) as running:
        yield running


@pytest.fixture
def old(old_server: Server) -> Iterator[Api]:
    """The release before, spoken to."""
    with httpx2.Client(base_url=old_server.url, timeout=20) as http:
        yield Api(http)


def test_what_runs_is_the_release_before(old_deployment: Deployment, release_before: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", "import service, sealwright; print(service.__file__, sealwright.__file__)"],
        env=old_deployment.env, cwd=old_deployment.directory, capture_output=True, text=True, check=True, timeout=60,
    ).stdout.split()  # fmt: skip

    assert [Path(file).is_relative_to(release_before) for file in told] == [True, True]
    assert not list(release_before.glob("migrations/versions/0002*"))


def test_the_release_before_does_all_its_work_on_this_schema(old: Api, actors: Actors) -> None:
    user, client = actors.user(), actors.client()

    async def known() -> int:
        return old.http.post("/introspect", data={"token": "x"}, auth=client.basic).status_code

    asyncio.run(until(known, lambda status: status == 200, "the old worker has heard of the client"))
    session = old.sign_in(user.username, PASSWORD, **client.form)
    second = tokens(old.http.post("/refresh", data={"refresh_token": session.refresh}, auth=client.basic))
    again = tokens(old.http.post("/refresh", data={"refresh_token": session.refresh}, auth=client.basic))
    own = tokens(old.http.post("/token", data={"grant_type": "client_credentials"}, auth=client.basic))

    assert again.jti == second.jti
    assert old.is_alive(second.access)
    old.http.post("/revoke", data={"token": own.access}, auth=client.basic)
    assert not old.introspect(own.access)["active"]
    old.http.post("/revoke", data={"token": second.refresh}, auth=client.basic)
    assert not old.is_alive(second.access)
    for path in ("/logout", "/logout/all"):
        session = old.sign_in(user.username, PASSWORD)
        assert old.http.post(path, headers=bearer(session.access)).status_code == 204
        assert not old.is_alive(session.access)
    body = {"current_password": PASSWORD, "new_password": "another good password"}
    session = old.sign_in(user.username, PASSWORD)
    assert old.http.post("/me/password", json=body, headers=bearer(session.access)).status_code == 200


@pytest.mark.parametrize("old_begins", [True, False])
def test_each_release_takes_the_tokens_of_the_other(
    old: Api, api: Api, actors: Actors, *, old_begins: bool
) -> None:
    user = actors.user()
    one, other = (old, api) if old_begins else (api, old)
    session = one.sign_in(user.username, PASSWORD)

    assert other.is_alive(session.access)
    second = tokens(other.refresh(session.refresh))
    assert tokens(one.refresh(session.refresh)).jti == second.jti
    assert one.is_alive(second.access)
    third = tokens(one.refresh(second.refresh))
    one.revoke(third.refresh)
    assert not one.is_alive(third.access)
    assert not other.is_alive(third.access)
    assert other.refresh(third.refresh).status_code == 400


def test_the_janitor_of_the_release_before_deletes_what_this_schema_lets_go(
    deployment: Deployment, old_server: Server
) -> None:
    url = deployment.database_url
    old_one = (
        "INSERT INTO audit_events (event, at) VALUES ('test.upgrade', clock_timestamp() - interval '91 days')"
    )
    left = "SELECT 1 FROM audit_events WHERE event = 'test.upgrade'"

    async def main() -> None:
        await fetch(url, old_one)
        await until(lambda: fetch(url, left), lambda rows: not rows, "the event is gone", within=30)

    asyncio.run(main())
    assert "Traceback" not in old_server.log.read_text()
