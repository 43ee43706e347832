"""A restored record: what it has forgotten does not come back to life, unless somebody says that it may."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import httpx2
import pytest

from service.cli import demo
from service.embedded.binaries import postgres_binary
from tests.support.client import Api, Tokens
from tests.support.deployment import Deployment, drop_database, new_database

APP = demo.APP.client_id


@dataclass(frozen=True)
class Past:
    """A deployment that was restored to a backup, and what was signed in before and after that."""

    deployment: Deployment
    kept: Tokens
    """Of before the backup, and nothing has happened to it since."""
    revoked: Tokens
    """Of before the backup, signed out since."""
    forgotten: Tokens
    """Of after the backup, under an epoch of its client that the backup does not know."""


@pytest.fixture
def past(server_urls: tuple[str, str], empty_database: str, tmp_path: Path) -> Past:
    deployment = Deployment(empty_database, server_urls[1], tmp_path, "http://localhost:8000")
    deployment.prepare()
    backup = tmp_path / "backup"
    with served(deployment) as api:
        kept, revoked = api.sign_in(), api.sign_in()
        postgres("pg_dump", "--format=custom", f"--file={backup}", empty_database)
        api.revoke(revoked.refresh)
        deployment.cli("clients", "disable", APP)
        deployment.cli("clients", "enable", APP)
        forgotten = signed_in_again(api)
    postgres("pg_restore", "--clean", "--if-exists", f"--dbname={empty_database}", str(backup))
    return Past(deployment, kept, revoked, forgotten)


def test_a_restored_record_ends_everything_that_was_before(past: Past) -> None:
    past.deployment.cli("restored")

    with served(past.deployment) as api:
        for tokens in (past.kept, past.revoked, past.forgotten):
            assert not api.is_alive(tokens.access)
            assert api.refresh(tokens.refresh).json()["error"] == "invalid_grant"
        assert api.is_alive(api.sign_in().access)


def test_sessions_that_are_kept_get_new_access_tokens_and_the_old_are_dead(past: Past) -> None:
    past.deployment.cli("restored", "--keep-sessions")

    with served(past.deployment) as api:
        for tokens in (past.kept, past.revoked, past.forgotten):
            assert not api.is_alive(tokens.access)
        for tokens in (past.kept, past.revoked):  # that it was signed out is forgotten: the price
            assert api.is_alive(api.refresh(tokens.refresh).json()["access_token"])
        assert api.refresh(past.forgotten.refresh).json()["error"] == "invalid_grant"


def test_a_client_that_was_disabled_in_the_backup_stays_so(past: Past) -> None:
    past.deployment.cli("clients", "disable", APP)

    past.deployment.cli("restored", "--keep-sessions")

    with served(past.deployment) as api:
        assert not api.is_alive(past.forgotten.access)
        assert api.refresh(past.kept.refresh).status_code == 401


def test_a_trial_of_the_restore_leaves_the_live_service_alone(
    past: Past, server_urls: tuple[str, str]
) -> None:
    live = past.deployment
    copy = replace(live, database_url=new_database(server_urls[0]))
    backup = live.directory / "copy"
    try:
        with served(live) as api:
            tokens = api.sign_in()
            postgres("pg_dump", "--format=custom", f"--file={backup}", live.database_url)
            postgres("pg_restore", f"--dbname={copy.database_url}", str(backup))

            copy.cli("restored")

            api.revoke(api.sign_in().refresh)  # the next number, which the trial must not have taken
            assert api.is_alive(tokens.access)
            parts = api.http.get("/readyz").json()["parts"]
            assert parts["redis"] == {"ok": True, "problem": None}
    finally:
        drop_database(server_urls[0], copy.database_url)


@contextmanager
def served(deployment: Deployment) -> Iterator[Api]:
    with deployment.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        yield Api(http)


def signed_in_again(api: Api) -> Tokens:
    """Sign in as soon as the worker knows that the client is enabled again; its token is of the new epoch."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            tokens = api.sign_in()
        except AssertionError:
            continue
        if tokens.claims["cep"] > 0:
            return tokens
    raise AssertionError("the worker does not learn of its client")


def postgres(name: str, *arguments: str) -> None:
    subprocess.run([postgres_binary(name), *arguments], capture_output=True, timeout=60, check=True)
