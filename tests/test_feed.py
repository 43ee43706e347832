"""GET /revocations: a snapshot, then every change in order, whatever becomes of Redis and Postgres."""

import asyncio
import contextlib
import gzip
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from service import migrating
from service.cli import demo
from service.database import Connection, Database
from service.embedded import ports
from service.errors import Unavailable
from service.revocation import Revocation, Revocations, record
from service.revocation.feed import Feed
from service.revocation.record import Entry
from tests.support.actors import Actors
from tests.support.client import SERVICE_AUTH, Api, bearer, claims, unique
from tests.support.database import fetch, held, until, until_waiting
from tests.support.deployment import Deployment, Server
from tests.support.feed import apply, read
from tests.support.processes import eventually
from tests.support.refusals import assert_bearer_error, assert_invalid_client, assert_problem

pytestmark = pytest.mark.anyio

PROMISED = 1.0
"""Seconds within which a revocation is told, whatever becomes of Redis."""

LIFETIME = timedelta(minutes=30)


def snapshot(http: httpx2.Client, **headers: str) -> dict[str, Any]:
    answer = http.get("/revocations", auth=SERVICE_AUTH, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def changes(
    http: httpx2.AsyncClient, cursor: str, wait: float, *, asked: list[str] | None = None
) -> dict[str, Any]:
    async def trace(event: str, _: object) -> None:
        if asked is not None and event == "http11.send_request_body.complete":
            asked.append(event)

    answer = await http.get(
        "/revocations",
        params={"after": cursor, "wait": wait},
        auth=SERVICE_AUTH,
        extensions={"trace": trace},
    )
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@asynccontextmanager
async def listening(server: Server, connections: int = 100) -> AsyncIterator[httpx2.AsyncClient]:
    limits = httpx2.Limits(max_connections=connections)
    async with httpx2.AsyncClient(base_url=server.url, timeout=90, limits=limits, trust_env=False) as http:
        yield http


def test_the_snapshot_holds_what_was_revoked_and_how_fresh_it_is(api: Api) -> None:
    one, session = api.sign_in(), api.sign_in()
    api.revoke(one.access)
    api.revoke(session.refresh)
    subjects = {("jti", one.claims["jti"]), ("sid", session.claims["sid"])}
    # Another worker than the one that revoked may answer: it knows a moment later.
    eventually(lambda: subjects <= set(apply({}, snapshot(api.http)["revocations"])), within=5)

    body = snapshot(api.http)
    held = apply({}, body["revocations"])
    assert body["issuer"] == "http://localhost:8000"
    assert body["snapshot"] is True
    assert held["jti", one.claims["jti"]]["reason"] == "revoked"
    assert held["jti", one.claims["jti"]]["exp"] >= one.claims["exp"]
    assert held["sid", session.claims["sid"]]["reason"] == "revoked"
    assert 0 <= body["now"] - body["seen_at"] < 5
    assert abs(body["now"] - time.time()) < 5


async def test_a_change_is_told_the_moment_that_it_is_made(server: Server, api: Api) -> None:
    cursor = snapshot(api.http)["cursor"]
    async with listening(server) as http:
        for _ in range(3):
            session = api.sign_in()
            waiting = asyncio.create_task(until_told(http, cursor, session.claims["jti"]))
            await asyncio.sleep(0.1)  # so that it waits
            began = time.monotonic()
            await asyncio.to_thread(api.revoke, session.access)
            cursor = await waiting
            assert time.monotonic() - began < PROMISED


async def until_told(http: httpx2.AsyncClient, cursor: str, jti: str) -> str:
    """Follow the feed until it tells of this one; others of the same deployment may come before."""
    for _ in range(100):
        body = await changes(http, cursor, 20)
        assert body["snapshot"] is False
        cursor = body["cursor"]
        if any(entry.get("jti") == jti for entry in body["revocations"]):
            return cursor
    raise AssertionError("not told")


async def test_an_empty_answer_comes_when_the_wait_is_over_and_is_fresh(server: Server, api: Api) -> None:
    async with listening(server) as http:
        cursor = snapshot(api.http)["cursor"]
        began = time.monotonic()
        body = await changes(http, cursor, 1.2)
        while body["revocations"]:  # of another test's doing
            began = time.monotonic()
            body = await changes(http, body["cursor"], 1.2)

    assert 1.1 < time.monotonic() - began < 10
    assert body["snapshot"] is False
    assert body["now"] - body["seen_at"] < 5


def test_a_cursor_of_another_timeline_gets_a_snapshot(api: Api) -> None:
    token = api.sign_in()
    api.revoke(token.access)

    def told() -> bool:
        answer = api.http.get("/revocations", params={"after": f"{'0' * 32}.3"}, auth=SERVICE_AUTH)
        assert answer.json()["snapshot"] is True
        return ("jti", token.claims["jti"]) in apply({}, answer.json()["revocations"])

    eventually(told, within=5)


def test_a_cursor_ahead_of_the_record_gets_a_snapshot(api: Api) -> None:
    timeline = snapshot(api.http)["cursor"].partition(".")[0]
    answer = api.http.get("/revocations", params={"after": f"{timeline}.{10**17}"}, auth=SERVICE_AUTH)

    assert answer.json()["snapshot"] is True


@pytest.mark.parametrize(
    "query", ["after=", "after=x", "after=%00", "wait=-1", "wait=61", "wait=nan", "wait=1e9", "wait="]
)
def test_junk_is_refused_with_a_problem(http: httpx2.Client, query: str) -> None:
    assert_problem(http.get(f"/revocations?{query}", auth=SERVICE_AUTH), 400)


def test_the_feed_takes_a_confidential_client_or_a_token_with_the_scope(
    http: httpx2.Client, api: Api, actors: Actors
) -> None:
    assert_bearer_error(http.get("/revocations"), told=False)
    assert_invalid_client(http.get("/revocations", auth=(demo.SERVICE.client_id, "wrong")))
    assert_invalid_client(http.get("/revocations", auth=(demo.APP.client_id, "")))
    assert_bearer_error(
        http.get("/revocations", headers=bearer(api.sign_in().access)), "insufficient_scope", 403
    )
    assert_bearer_error(http.get("/revocations", headers=bearer("eyJ.e30.x")))

    reader = actors.client(scopes=["revocations:read"], grant_types=["client_credentials"])
    form = {
        "grant_type": "client_credentials",
        "scope": "revocations:read",
        "resource": "http://localhost:8000",
    }
    token = http.post("/token", data=form, auth=reader.basic).json()["access_token"]
    assert claims(token)["scope"] == "revocations:read"
    assert http.get("/revocations", headers=bearer(token)).status_code == 200
    api.http.post("/revoke", data={"token": token}, auth=reader.basic).raise_for_status()
    assert_bearer_error(http.get("/revocations", headers=bearer(token)))


def test_a_snapshot_is_packed_for_who_reads_gzip_and_has_an_etag(api: Api) -> None:
    for _ in range(20):  # enough to be worth packing, whatever other tests have revoked
        api.revoke(api.sign_in().access)
    with httpx2.Client(base_url=api.http.base_url, auth=SERVICE_AUTH, trust_env=False) as http:

        def ask(**headers: str) -> httpx2.Response:
            with http.stream("GET", "/revocations", headers=headers) as answer:
                answer.extensions["raw"] = b"".join(answer.iter_raw())
            return answer

        eventually(
            lambda: ask(**{"accept-encoding": "gzip"}).headers.get("content-encoding") == "gzip", within=5
        )
        packed = ask(**{"accept-encoding": "gzip"})
        plain = ask(**{"accept-encoding": "gzip;q=0, identity"})
        assert "content-encoding" not in plain.headers
        assert packed.headers["vary"] == plain.headers["vary"] == "Accept-Encoding"
        assert len(packed.extensions["raw"]) < len(plain.extensions["raw"])
        assert gzip.decompress(packed.extensions["raw"]).startswith(b'{"issuer":')

        def unchanged() -> bool:
            # Either worker may answer, and others revoke meanwhile.
            again = ask(**{"if-none-match": ask().headers["etag"]})
            assert again.headers["cache-control"] == "private, no-cache"
            return (again.status_code, again.extensions["raw"]) == (304, b"")

        eventually(unchanged, within=10)


@pytest.fixture(scope="module")
def alone(deployment: Deployment) -> Iterator[tuple[Deployment, Server]]:
    """A replica on the same record that cannot reach Redis."""
    cut_off = replace(deployment, redis_url=f"redis://127.0.0.1:{ports.choose()}/0")
    with cut_off.serving(workers=1) as replica:
        yield cut_off, replica


async def test_without_redis_a_revocation_of_another_replica_is_told_within_a_second(
    alone: tuple[Deployment, Server], api: Api
) -> None:
    async with listening(alone[1]) as http:
        body = (await http.get("/revocations", auth=SERVICE_AUTH)).json()
        session = await asyncio.to_thread(api.sign_in)
        waiting = asyncio.create_task(until_told(http, body["cursor"], session.claims["jti"]))
        await asyncio.sleep(0.1)
        began = time.monotonic()
        await asyncio.to_thread(api.revoke, session.access)
        await waiting
        assert time.monotonic() - began < 2 * PROMISED  # a busy machine; the look itself comes after 0.4 s


async def test_writers_that_would_commit_in_the_other_order_have_to_wait_and_nothing_is_skipped(
    deployment: Deployment, server: Server, api: Api
) -> None:
    subjects = [unique("subject") for _ in range(3)]
    cursor = snapshot(api.http)["cursor"]
    async with listening(server) as http, deployment.operator() as (_, revocations):
        listener: dict[tuple[str, str], Any] = {}

        async def follow() -> None:
            at = cursor
            while ("jti", subjects[2]) not in listener:
                body = await changes(http, at, 20)
                at = body["cursor"]
                order.extend(entry["jti"] for entry in body["revocations"] if entry.get("jti") in subjects)
                apply(listener, body["revocations"])

        order: list[str] = []
        following = asyncio.create_task(follow())
        begun, go = asyncio.Event(), asyncio.Event()

        async def slow(subject: str) -> None:
            """Begin first, commit last."""
            async with revocations.transaction() as revoking:
                await record.head(revoking.db)
                begun.set()
                await go.wait()
                revoking.revoke(Revocation("jti", subject, "revoked", LIFETIME))

        async def quick(subject: str) -> None:
            async with revocations.transaction() as revoking:
                revoking.revoke(Revocation("jti", subject, "revoked", LIFETIME))

        first = asyncio.create_task(slow(subjects[1]))
        await begun.wait()
        await quick(subjects[0])  # begun later, committed earlier
        async with held(deployment.database_url, "SELECT 1 FROM revocation_head FOR UPDATE") as release:
            # Both have something to commit and neither a number yet: the head's lock gives them out in turn.
            last = asyncio.create_task(quick(subjects[2]))
            await until_waiting(deployment.database_url, 1)
            assert ("jti", subjects[2]) not in listener
            await release()
        await last
        go.set()
        await first
        await asyncio.wait_for(following, 10)
        await until(
            lambda: changes(http, cursor, 0),
            lambda body: (
                {s for s in subjects if ("jti", s) in apply({}, body["revocations"])} == set(subjects)
            ),
            "all three are told",
        )
        numbers = {
            row["subject"]: row["number"]
            for row in await fetch(
                deployment.database_url,
                "SELECT subject, number FROM revocations WHERE subject = ANY($1::text[])",
                subjects,
            )
        }
        assert numbers[subjects[0]] < numbers[subjects[2]] < numbers[subjects[1]]
        assert order == sorted(order, key=numbers.__getitem__)


async def test_a_record_that_lost_revocations_gets_listeners_a_snapshot(
    deployment: Deployment, empty_database: str
) -> None:
    await asyncio.to_thread(migrating.upgrade_now, empty_database)
    async with replace(deployment, database_url=empty_database).operator() as (_, revocations):
        await revoke(revocations, "kept", "lost")
        before = (await revocations.feed.snapshot()).cursor
        await fetch(empty_database, "DELETE FROM revocations WHERE subject = 'lost'")
        await fetch(empty_database, "UPDATE revocation_head SET number = 1")

        async def means_nothing() -> bool:
            with contextlib.suppress(Unavailable):
                return await revocations.feed.changes(before, 0.5) is None
            return False

        await until(means_nothing, bool, "only a snapshot of the new timeline will do")
        told = await revocations.feed.snapshot()
        assert told.cursor.timeline == revocations.feed.timeline != before.timeline
        assert [entry["jti"] for entry in read(told.revocations)] == ["kept"]


@asynccontextmanager
async def replica(database: Database) -> AsyncIterator[Feed]:
    """The feed of a replica that nobody tells when to look."""

    async def lost(_: object, __: int) -> bool:
        return False

    feed = Feed(database, interval=timedelta(hours=1), lost=lost)
    yield feed
    await feed.stop()


async def revoke(revocations: Revocations, *subjects: str) -> None:
    for subject in subjects:
        async with revocations.transaction() as revoking:
            revoking.revoke(Revocation("jti", subject, "revoked", LIFETIME))


async def test_a_listener_that_comes_to_a_replica_on_the_timeline_before_loses_nothing(
    deployment: Deployment, empty_database: str
) -> None:
    await asyncio.to_thread(migrating.upgrade_now, empty_database)
    async with (
        replace(deployment, database_url=empty_database).operator() as (database, revocations),
        replica(database) as ahead,
        replica(database) as behind,
    ):
        await revoke(revocations, "old")
        await behind.snapshot()
        async with database.transaction() as db:
            await record.begin_timeline(db)
        await revoke(revocations, "new")
        heard = await ahead.snapshot()

        told = await behind.changes(heard.cursor, 0)

        assert told is not None
        assert told.cursor == heard.cursor


async def test_what_is_revoked_anew_while_the_pages_are_read_is_in_the_first_snapshot(
    deployment: Deployment, empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asyncio.to_thread(migrating.upgrade_now, empty_database)
    async with (
        replace(deployment, database_url=empty_database).operator() as (database, revocations),
        replica(database) as feed,
    ):
        await revoke(revocations, *"abcde")
        pages: list[int] = []

        async def page(db: Connection, number: int, limit: int) -> list[Entry]:
            pages.append(number)
            if len(pages) == 2:
                await revoke(revocations, "c")
            return await read_page(db, number, limit)

        read_page = record.page
        monkeypatch.setattr(record, "page", page)
        monkeypatch.setattr("service.revocation.feed.PAGE", 2)
        told = await feed.snapshot()

    assert sorted(entry["jti"] for entry in read(told.revocations)) == list("abcde")


async def test_a_thousand_listeners_cost_no_query_each_and_all_are_told(deployment: Deployment) -> None:
    async with relay(deployment.database_url) as (url, sent):
        counted = replace(deployment, database_url=url)
        async with started(counted) as replica, listening(replica, connections=1000) as http:
            body = (await http.get("/revocations", auth=SERVICE_AUTH)).json()
            before, began = sent(), time.monotonic()
            asked: list[str] = []
            waiting = [
                asyncio.create_task(changes(http, body["cursor"], 50, asked=asked)) for _ in range(1000)
            ]
            await until(lambda: count(asked), lambda n: n == 1000, "all have asked", within=60)
            await asyncio.to_thread(httpx2.get, f"{replica.url}/healthz", trust_env=False)
            assert not any(task.done() for task in waiting)

            async with deployment.operator() as (_, revocations):
                subject = unique("subject")
                async with revocations.transaction() as revoking:
                    revoking.revoke(Revocation("jti", subject, "revoked", LIFETIME))
            for told in await asyncio.gather(*waiting):
                assert [entry["jti"] for entry in told["revocations"]] == [subject]
            # The worker looks at several things a few times a second, whether anybody listens or not.
            assert sent() - before < 100 + 20 * (time.monotonic() - began)


@asynccontextmanager
async def started(deployment: Deployment) -> AsyncIterator[Server]:
    """One worker, while this event loop goes on: its way to the database leads through here."""
    serving = deployment.serving(workers=1)
    replica = await asyncio.to_thread(serving.__enter__)
    try:
        yield replica
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


async def count(asked: list[str]) -> int:
    return len(asked)


@asynccontextmanager
async def relay(url: str) -> AsyncIterator[tuple[str, Callable[[], int]]]:
    """A way to the same database that counts what is sent there: a query is sent in one piece."""
    target = sa.make_url(url)
    sent = 0

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, counted: bool) -> None:
        nonlocal sent
        with contextlib.suppress(OSError):
            while chunk := await reader.read(65536):
                sent += counted
                writer.write(chunk)
                await writer.drain()
        writer.close()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream_reader, upstream_writer = await asyncio.open_connection(target.host, target.port)
        await asyncio.gather(
            pump(reader, upstream_writer, counted=True), pump(upstream_reader, writer, counted=False)
        )

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    try:
        yield (
            target.set(host="127.0.0.1", port=port).render_as_string(hide_password=False),
            lambda: sent,
        )
    finally:
        server.close()


def test_a_listener_that_hangs_up_is_let_go(deployment: Deployment) -> None:
    with deployment.serving(workers=1) as replica:
        with httpx2.Client(base_url=replica.url, trust_env=False) as http:
            cursor = snapshot(http)["cursor"]
        for _ in range(5):
            with pytest.raises(httpx2.ReadTimeout):
                httpx2.get(
                    f"{replica.url}/revocations",
                    params={"after": cursor, "wait": 60},
                    auth=SERVICE_AUTH,
                    timeout=0.3,
                    trust_env=False,
                )
        # A request that still waited would hold this up until it is cut.
        replica.process.send_signal(signal.SIGTERM)
        replica.process.wait(15)


async def test_who_still_listens_when_a_worker_ends_is_answered_at_once(deployment: Deployment) -> None:
    async with started(deployment) as replica, listening(replica) as http:
        cursor = (await http.get("/revocations", auth=SERVICE_AUTH)).json()["cursor"]
        asked: list[str] = []
        waiting = [asyncio.create_task(changes(http, cursor, 60, asked=asked)) for _ in range(5)]
        await until(lambda: count(asked), lambda n: n == 5, "all have asked")
        await asyncio.to_thread(httpx2.get, f"{replica.url}/healthz", trust_env=False)

        replica.process.send_signal(signal.SIGTERM)
        for told in await asyncio.wait_for(asyncio.gather(*waiting), 15):
            assert told["revocations"] == []
            assert told["snapshot"] is False
        await asyncio.to_thread(replica.process.wait, 15)
