"""Two live secrets: a client's secret changes under traffic, and no request fails."""

import threading

import httpx2
import pytest

from service.clients.store import new_secret
from tests.support.actors import Actors, Program
from tests.support.command import Command
from tests.support.database import sql
from tests.support.deployment import Deployment, Server
from tests.support.processes import eventually


@pytest.fixture
def client(actors: Actors) -> Program:
    return actors.client()


def status(server: Server, client_id: str, secret: str) -> int:
    """On a connection of its own, so that either worker answers."""
    form = {"grant_type": "client_credentials"}
    return httpx2.post(f"{server.url}/token", data=form, auth=(client_id, secret), timeout=20).status_code


def test_a_secret_is_changed_without_one_refused_request(
    command: Command, server: Server, client: Program
) -> None:
    old = client.basic[1]
    using, stop = [old], threading.Event()
    seen: list[int] = []

    def traffic() -> None:
        while not stop.is_set():
            seen.append(status(server, client.id, using[-1]))

    threads = [threading.Thread(target=traffic) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        new = command("clients", "secret", "add", client.id).stdout.strip()
        using.append(new)  # at once: a worker that has not heard of it looks again
        before = len(seen)
        eventually(lambda: len(seen) > before + 8, within=30)
        first, second = command.json("clients", "secret", "list", client.id)
        command("clients", "secret", "remove", client.id, first["fingerprint"])
        before = len(seen)
        eventually(lambda: len(seen) > before + 8, within=30)
    finally:
        stop.set()
        for thread in threads:
            thread.join(30)

    assert set(seen) == {200}
    eventually(lambda: all(status(server, client.id, old) == 401 for _ in range(8)), within=20)
    assert [one["fingerprint"] for one in command.json("clients", "secret", "list", client.id)] == [
        second["fingerprint"]
    ]


def test_both_secrets_count_and_the_older_stays_where_the_release_before_looks(
    command: Command, server: Server, client: Program, deployment: Deployment
) -> None:
    column = "SELECT secret_sha256 AS old FROM clients WHERE id = $1"
    before = sql(deployment.database_url, column, client.id)
    shown = command.json("clients", "secret", "add", client.id)

    assert status(server, client.id, client.basic[1]) == 200
    assert status(server, client.id, shown["client_secret"]) == 200
    assert status(server, client.id, new_secret()) == 401
    assert sql(deployment.database_url, column, client.id) == before


def test_once_the_older_is_gone_the_younger_is_where_the_release_before_looks(
    command: Command, deployment: Deployment, client: Program
) -> None:
    added = command.json("clients", "secret", "add", client.id)
    older = command.json("clients", "secret", "list", client.id)[0]
    command("clients", "secret", "remove", client.id, older["fingerprint"])

    [row] = sql(
        deployment.database_url,
        "SELECT encode(secret_sha256, 'hex') AS one, second_secret_sha256 AS two FROM clients WHERE id = $1",
        client.id,
    )
    assert row["one"].startswith(added["fingerprint"])
    assert row["two"] is None


def test_a_secret_is_shown_once_and_only_its_fingerprint_stays(
    command: Command, deployment: Deployment, client: Program
) -> None:
    added = command("clients", "secret", "add", client.id)
    secret = added.stdout.strip()

    assert secret not in added.stderr
    said = command("clients", "show", client.id, "--json").stdout
    assert secret not in said
    assert command.json("clients", "secret", "list", client.id)[1]["fingerprint"] in said
    [event] = sql(
        deployment.database_url,
        "SELECT audit_events::text AS all FROM audit_events WHERE client_id = $1 ORDER BY id DESC LIMIT 1",
        client.id,
    )
    assert "client.secret_added" in event["all"]
    assert secret not in event["all"]


def test_there_are_two_at_the_most_and_one_at_the_least(
    command: Command, client: Program, actors: Actors
) -> None:
    [only] = command.json("clients", "secret", "list", client.id)
    public = actors.client(confidential=False)

    assert "Add another first" in command.refused(
        "clients", "secret", "remove", client.id, only["fingerprint"]
    )
    command("clients", "secret", "add", client.id, "--secret-stdin", stdin=new_secret())
    assert "has two secrets already" in command.refused("clients", "secret", "add", client.id)
    assert "no secret 'ffffffff'" in command.refused("clients", "secret", "remove", client.id, "ffffffff")
    assert "public client" in command.refused("clients", "secret", "add", public.id)
