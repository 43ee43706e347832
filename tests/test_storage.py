"""Storage does not grow: one row a session, updated in place, and what is over is deleted by itself."""

import time
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import UUID, uuid4

import httpx2
import pytest

from service.database import Database
from service.janitor import Janitor
from service.revocation import Revocation, Revocations, record
from service.sessions.live import Live
from service.sessions.rotation import Presented, rotate
from tests.support.client import Api, tokens
from tests.support.database import fetch, held, until
from tests.support.deployment import Deployment

pytestmark = pytest.mark.anyio

ROTATIONS = 10_000


@pytest.fixture
async def operator(deployment: Deployment) -> AsyncIterator[tuple[Database, Revocations]]:
    async with deployment.operator() as parts:
        yield parts


async def count(deployment: Deployment, table: str, where: str = "true", *arguments: object) -> int:
    rows = await fetch(deployment.database_url, f"SELECT count(*) FROM {table} WHERE {where}", *arguments)
    return int(rows[0][0])


async def rotated(parts: tuple[Database, Revocations], session_id: UUID, jti: UUID) -> Live:
    database, revocations = parts
    outcome = await rotate(
        database,
        revocations,
        Presented(
            session_id=session_id,
            jti=jti,
            client_id="demo-app",
            client_epoch=0,
            asked_resources=(),
            allowed_resources=("http://localhost:8001",),
            grace=timedelta(seconds=30),
            arrived=database.clock.at(time.monotonic()),
            deadline=database.clock.after(time.monotonic(), timedelta(seconds=5)),
        ),
        idle=timedelta(days=14),
        revocation_lifetime=timedelta(hours=1),
        address=None,
        user_agent=None,
        hung_up=never,
    )
    assert isinstance(outcome, Live)
    return outcome


async def never() -> bool:
    return False


@pytest.fixture
def undisturbed(server_urls: tuple[str, str], empty_database: str, tmp_path: Path) -> Deployment:
    """A deployment without large tables: while one is read, for autovacuum's statistics say, no old row can go."""
    made = Deployment(empty_database, server_urls[1], tmp_path, "http://localhost:8000")
    made.prepare()
    return made


async def test_ten_thousand_rotations_leave_one_row_and_are_heap_only_updates(
    undisturbed: Deployment,
) -> None:
    deployment = undisturbed
    with deployment.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        session = Api(http).sign_in()
    session_id, jti = UUID(session.claims["sid"]), UUID(session.jti)
    statistics = "SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sessions'"
    before = (await fetch(deployment.database_url, statistics))[0]
    rows, events = await count(deployment, "sessions"), await count(deployment, "audit_events")

    async with deployment.operator() as operator:
        for generation in range(1, ROTATIONS + 1):
            outcome = await rotated(operator, session_id, jti)
            assert outcome.generation == generation
            jti = outcome.jti

    assert (await count(deployment, "sessions"), await count(deployment, "audit_events")) == (rows, events)
    # Postgres counts with a delay: a backend that is idle tells what it did after up to 10 s.
    after = (
        await until(
            lambda: fetch(deployment.database_url, statistics),
            lambda seen: seen[0]["n_tup_upd"] - before["n_tup_upd"] >= ROTATIONS,
            "the updates are counted",
            within=30,
        )
    )[0]
    updates, hot = (after[name] - before[name] for name in ("n_tup_upd", "n_tup_hot_upd"))
    assert hot / updates > 0.99
    size = await fetch(deployment.database_url, "SELECT pg_relation_size('sessions')")
    assert size[0][0] < 1 << 20


async def test_the_row_tells_its_story_in_counters_and_last_times(deployment: Deployment, api: Api) -> None:
    session = api.sign_in()
    second = tokens(api.refresh(session.refresh))
    for _ in range(3):
        api.refresh(session.refresh)
    tokens(api.refresh(second.refresh))

    rows = await fetch(deployment.database_url, "SELECT * FROM sessions WHERE id = $1", session.claims["sid"])

    row = rows[0]
    assert (row["generation"], row["replays"]) == (2, 3)
    assert row["started_at"] < row["replayed_at"] < row["refreshed_at"]
    assert row["address"] == "127.0.0.1"


async def test_no_table_holds_a_token_or_a_secret(deployment: Deployment, api: Api) -> None:
    session = api.sign_in()
    api.revoke(session.access)
    secrets = [
        session.access,
        session.refresh,
        "wonderland",
        "demo-service-secret",
        session.access.split(".")[2],
    ]

    tables = await fetch(
        deployment.database_url, "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
    )
    for (table,) in tables:
        for row in await fetch(deployment.database_url, f"SELECT t::text AS line FROM {table} t"):
            assert not [secret for secret in secrets if secret in row["line"]], table


async def test_what_is_over_is_deleted_and_nothing_else(
    deployment: Deployment, api: Api, operator: tuple[Database, Revocations]
) -> None:
    database, _ = operator
    kept, ended, idle = (UUID(api.sign_in().claims["sid"]) for _ in range(3))
    url = deployment.database_url
    long_ago = "clock_timestamp() - interval '8 days'"
    await fetch(url, f"UPDATE sessions SET ended_at = {long_ago}, end_reason = 'logout' WHERE id = $1", ended)
    await fetch(url, f"UPDATE sessions SET expires_at = {long_ago} WHERE id = $1", idle)
    async with database.transaction() as db:
        over, in_force = uuid4().hex, uuid4().hex
        await record.append(db, [Revocation("jti", over, "revoked", timedelta(seconds=-1))])
        await record.append(db, [Revocation("jti", in_force, "revoked", timedelta(hours=1))])
    await fetch(
        url,
        "INSERT INTO audit_events (event, at) VALUES ('test.old', clock_timestamp() - interval '91 days')",
    )

    await Janitor(deployment.settings, database).round()

    assert await count(deployment, "sessions", "id = ANY($1::uuid[])", [ended, idle]) == 0
    assert await count(deployment, "sessions", "id = $1", kept) == 1
    assert await count(deployment, "revocations", "subject = $1", over) == 0
    assert await count(deployment, "revocations", "subject = $1", in_force) == 1
    assert await count(deployment, "audit_events", "event = 'test.old'") == 0
    assert await count(deployment, "audit_events", "session_id = $1", kept) == 1


async def test_the_janitor_passes_over_rows_that_somebody_holds(
    deployment: Deployment, api: Api, operator: tuple[Database, Revocations]
) -> None:
    database, _ = operator
    idle = api.sign_in().claims["sid"]
    await fetch(
        deployment.database_url,
        "UPDATE sessions SET expires_at = clock_timestamp() - interval '8 days' WHERE id = $1",
        idle,
    )
    async with held(deployment.database_url, "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE", idle):
        await Janitor(deployment.settings, database).round()
        assert await count(deployment, "sessions", "id = $1", idle) == 1

    await Janitor(deployment.settings, database).round()
    assert await count(deployment, "sessions", "id = $1", idle) == 0


async def test_the_janitor_runs_by_itself(deployment: Deployment, api: Api) -> None:
    idle = api.sign_in().claims["sid"]
    await fetch(
        deployment.database_url,
        "UPDATE sessions SET expires_at = clock_timestamp() - interval '8 days' WHERE id = $1",
        idle,
    )

    with deployment.having(janitor_interval="0.1").serving(workers=1):
        await until(
            lambda: count(deployment, "sessions", "id = $1", idle), lambda left: left == 0, "the row is gone"
        )
