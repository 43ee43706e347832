"""Security events: written once, never changed, gone by their age alone; read, and followed without a gap."""

import json
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import asyncpg
import httpx2
import pytest

from service import embedded, migrating
from service.audit import failures
from service.audit.failures import Failure, Failures
from service.audit.reading import Filter, Follower, last
from service.database import Connection, Database, Row
from service.errors import Unavailable
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api
from tests.support.command import Command
from tests.support.database import fetch, sql
from tests.support.deployment import SEALWRIGHT, Deployment
from tests.support.processes import eventually

pytestmark = pytest.mark.anyio


@pytest.fixture
async def database(empty_database: str) -> AsyncIterator[Database]:
    """A migrated database in which nothing has happened yet."""
    await migrating.upgrade(empty_database)
    made = Database(empty_database, size=2, timeout=timedelta(seconds=10))
    await made.open()
    yield made
    await made.close()


def lines(done: str) -> list[dict[str, str]]:
    return [json.loads(line) for line in done.splitlines()]


@pytest.mark.parametrize(
    ("statement", "operation"),
    [
        ("UPDATE audit_events SET detail = 'nothing happened'", "UPDATE"),
        ("UPDATE audit_events SET detail = 'nothing happened' WHERE false", "UPDATE"),
        ("DELETE FROM audit_events", "DELETE"),
        ("TRUNCATE audit_events", "TRUNCATE"),
    ],
)
async def test_the_database_refuses_to_change_what_happened(
    deployment: Deployment, api: Api, statement: str, operation: str
) -> None:
    sid = api.sign_in().claims["sid"]

    with pytest.raises(asyncpg.RestrictViolationError, match=f"append-only: no {operation}"):
        await fetch(deployment.database_url, statement)

    assert await fetch(deployment.database_url, "SELECT 1 FROM audit_events WHERE session_id = $1", sid)


async def test_an_event_goes_once_it_is_older_than_a_day(deployment: Deployment) -> None:
    url = deployment.database_url
    for age in ("23 hours", "25 hours"):
        await fetch(
            url,
            "INSERT INTO audit_events (event, at) VALUES ('test.age', clock_timestamp() - $1::interval)",
            timedelta(hours=int(age.split()[0])),
        )

    gone = await fetch(
        url,
        "DELETE FROM audit_events WHERE event = 'test.age' AND at < clock_timestamp() - interval '1 day' RETURNING 1",
    )

    assert len(gone) == 1
    with pytest.raises(asyncpg.RestrictViolationError):
        await fetch(url, "DELETE FROM audit_events WHERE event = 'test.age'")


def test_a_story_is_read_in_order_and_by_its_user_client_and_session(
    command: Command, api: Api, actors: Actors
) -> None:
    user, client = actors.user(), actors.client()
    session = api.sign_in(user.username, PASSWORD, **client.form)
    other = api.sign_in(user.username, PASSWORD)
    api.http.post("/revoke", data={"token": session.refresh}, auth=client.basic)

    def told(*arguments: str) -> list[str]:
        return [event["event"] for event in lines(command("audit", "--json", *arguments).stdout)]

    assert told("--user", user.username) == ["session.started", "session.started", "session.ended"]
    assert told("--client", client.id) == ["session.started", "session.ended"]
    assert told("--session", other.claims["sid"]) == ["session.started"]
    assert told("--user", user.username, "--event", "session.ended") == ["session.ended"]
    assert told("--user", user.username, "--event", "session.") == told("--user", user.username)
    assert told("--user", user.username, "--limit", "1") == ["session.ended"]
    assert told("--user", user.username, "--since", "1h") == told("--user", user.username)
    assert told("--user", user.username, "--since", "0s") == []


def test_people_see_one_line_an_event(command: Command, http: httpx2.Client, actors: Actors) -> None:
    user = actors.user()
    http.headers["user-agent"] = "Mozilla/5.0 (\u200bX11)" + "x" * 300
    session = Api(http).sign_in(user.username, PASSWORD)

    [line] = command("audit", "--user", user.username).stdout.splitlines()

    assert "  session.started  pwd  " in line
    assert f"user={user.username}  client_id" not in line
    assert (
        f"user={user.username}  client=demo-app  session={session.claims['sid']}  address=127.0.0.1" in line
    )
    assert 'x"  request_id=' in line
    assert len(line) < 600


def test_an_event_of_a_command_tells_who_ran_it(command: Command, actors: Actors) -> None:
    user = actors.user()

    command("users", "disable", user.username)

    [event] = lines(command("audit", "--json", "--user", user.username, "--event", "user.disabled").stdout)
    assert "@" in event["actor"]
    assert event["actor"] in command("audit", "--user", user.username).stdout.replace('"', "")


@pytest.mark.parametrize("workers", [1, 2])
def test_an_event_of_a_request_is_in_nobodys_name_whoever_started_the_service(
    deployment: Deployment, actors: Actors, workers: int
) -> None:
    user = actors.user()
    with (
        deployment.serving(workers=workers) as server,
        httpx2.Client(base_url=server.url, timeout=20) as http,
    ):
        Api(http).sign_in(user.username, PASSWORD)

    [event] = sql(
        deployment.database_url,
        "SELECT actor, address FROM audit_events WHERE event = 'session.started' AND user_id = $1",
        user.id,
    )
    assert (event["actor"], event["address"]) == (None, "127.0.0.1")


def test_an_unknown_event_or_length_of_time_is_refused(command: Command) -> None:
    assert "there are: session.started" in command.refused("audit", "--event", "session.begun")
    assert "write 90s, 30m, 2h or 7d" in command.refused("audit", "--since", "yesterday")


async def test_a_flood_of_failed_sign_ins_is_told_by_few_rows(database: Database) -> None:
    counted = Failures(database, "sign_in.failed")
    user_id = uuid4()
    for _ in range(50):
        counted.note(Failure("wrong password", user_id, "demo-app", "192.0.2.1"))
    for number in range(500):
        counted.note(Failure("unknown user", None, "demo-app", f"192.0.2.{number}"))

    await counted.tell()
    await counted.tell()

    async with database.connect() as db:
        told = await reading_all(db)
    assert len(told) == failures.MOST + 1
    assert sum(row["times"] for row in told) == 550
    assert (told[0]["user_id"], told[0]["times"], told[0]["detail"]) == (user_id, 50, "wrong password")
    assert told[-1]["times"] == 500 - failures.MOST + 1


async def reading_all(db: Connection) -> list[Row]:
    return await last(db, Filter(), 100)


async def test_failed_sign_ins_are_counted_through_an_outage(database: Database) -> None:
    counted = Failures(database, "sign_in.failed")
    counted.note(Failure("unknown user", None, "demo-app", None))
    await database.close()
    with pytest.raises(Unavailable):
        await counted.tell()
    await database.open()

    counted.note(Failure("unknown user", None, "demo-app", None))
    await counted.stop()

    async with database.connect() as db:
        [told] = await reading_all(db)
    assert told["times"] == 2


def test_a_failed_sign_in_is_told_without_the_name_that_was_typed(
    deployment: Deployment, actors: Actors, command: Command
) -> None:
    user = actors.user()
    typed_in_the_wrong_field = "my-secret-password"
    with deployment.serving(workers=1) as own, httpx2.Client(base_url=own.url, timeout=20) as http:
        for username in (user.username, user.username, typed_in_the_wrong_field):
            form = {
                "grant_type": "password",
                "client_id": "demo-app",
                "username": username,
                "password": "wrong",
            }
            assert http.post("/token", data=form).status_code == 400

    told = command("audit", "--event", "sign_in.failed", "--limit", "2").stdout

    assert f"sign_in.failed  (2 times)  wrong password  user={user.username}  client=demo-app" in told
    assert "sign_in.failed  unknown user  client=demo-app  address=127.0.0.1" in told
    assert typed_in_the_wrong_field not in told


INSERT = "INSERT INTO audit_events (event) VALUES ($1) RETURNING id"


async def told(follower: Follower) -> list[str]:
    return [row["event"] for row in await follower.news()]


async def test_events_that_are_committed_in_another_order_are_all_seen_once(
    database: Database, empty_database: str
) -> None:
    first, second = [await asyncpg.connect(empty_database) for _ in range(2)]
    try:
        before = first.transaction()
        await before.start()
        early = await first.fetchval(INSERT, "drawn before the follower starts")
        follower = Follower(database, Filter())
        assert await follower.start(Filter(), 10) == []

        late = await second.fetchval(INSERT, "committed first")
        assert early < late
        assert await told(follower) == ["committed first"]
        assert await told(follower) == []
        await before.commit()
        assert await told(follower) == ["drawn before the follower starts"]

        # Any number of looks while a transaction is under way forgets nothing; one rolled back is forgotten.
        under_way, undone = first.transaction(), second.transaction()
        await under_way.start()
        await undone.start()
        await second.fetchval(INSERT, "rolled back")
        await first.fetchval(INSERT, "committed last")
        await fetch(empty_database, INSERT, "meanwhile")
        await undone.rollback()
        assert await told(follower) == ["meanwhile"]
        for _ in range(5):
            assert await told(follower) == []
        await under_way.commit()
        assert await told(follower) == ["committed last"]
        for _ in range(3):
            assert await told(follower) == []
        assert not follower.waits
    finally:
        await first.close()
        await second.close()


async def test_a_follower_of_one_user_passes_over_the_others(database: Database, empty_database: str) -> None:
    user_id = uuid4()
    wanted = Filter(user_id=user_id)
    follower = Follower(database, wanted)
    await follower.start(wanted, 10)

    await fetch(empty_database, INSERT, "another's")
    await fetch(empty_database, "INSERT INTO audit_events (event, user_id) VALUES ('its', $1)", user_id)

    assert await told(follower) == ["its"]


@contextmanager
def following(deployment: Deployment, output: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    with output.open("wb") as out:
        process = subprocess.Popen(
            [*SEALWRIGHT, "audit", "--follow", *arguments],
            env=deployment.env, cwd=deployment.directory, stdout=out, stderr=subprocess.STDOUT,
        )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def test_follow_goes_on_after_a_restart_of_postgres_and_ends_on_ctrl_c(tmp_path: Path) -> None:
    servers_dir, output = tmp_path / "servers", tmp_path / "followed"

    def seen(what: str) -> None:
        eventually(lambda: what in output.read_text(), within=30)

    with embedded.start(servers_dir, fsync=False) as servers:
        deployment = Deployment(servers.database_url, servers.redis_url, tmp_path, "http://localhost:8000")
        migrating.upgrade_now(deployment.database_url)
        sql(deployment.database_url, INSERT, "session.started")
        with following(deployment, output) as process:
            seen("session.started")
            servers.postgres.stop()
            seen("waiting for it")
            servers.postgres.start()
            sql(deployment.database_url, INSERT, "session.ended")
            seen("session.ended")
            process.send_signal(signal.SIGINT)
            assert process.wait(20) == 130

    said = output.read_text()
    assert said.count("session.started") == said.count("session.ended") == 1
    assert "Traceback" not in said


async def test_a_token_that_is_revoked_again_and_again_is_told_of_once(
    api: Api, deployment: Deployment
) -> None:
    token = api.sign_in()

    for _ in range(3):
        api.revoke(token.access)

    told = await fetch(
        deployment.database_url,
        "SELECT id FROM audit_events WHERE event = 'token.revoked' AND detail LIKE $1",
        f"jti {token.claims['jti']} %",
    )
    assert len(told) == 1
