"""Rotation: retried and raced, it never forks a session and never ends one that should go on."""

import asyncio
import json
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.support.client import Api, Tokens, claims, tokens, unique
from tests.support.database import fetch, held, sql, until_waiting
from tests.support.deployment import Deployment, Server

pytestmark = pytest.mark.anyio

RACERS = 64
POOL = 10
"""Connections of one worker: more than so many waiting at once are the work of two."""

CLIENT_CREDENTIALS = "grant_type=client_credentials&client_id=demo-service&client_secret=demo-service-secret"

HOLD = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE"


def generation(deployment: Deployment, session: Tokens) -> int:
    rows = sql(
        deployment.database_url, "SELECT generation FROM sessions WHERE id = $1", session.claims["sid"]
    )
    return int(rows[0]["generation"])


def post_and_hang_up(server: Server, refresh_token: str) -> None:
    """Send a whole refresh and close the connection without waiting for the answer."""
    with send_refresh(server, refresh_token):
        pass


def send_refresh(server: Server, refresh_token: str) -> socket.socket:
    """Send a whole refresh; whoever keeps the connection may wait for the answer."""
    connection = connect(server)
    post(connection, "/refresh", json.dumps({"refresh_token": refresh_token}), "application/json")
    return connection


def connect(server: Server) -> socket.socket:
    address = urlsplit(server.url)
    return socket.create_connection((address.hostname, address.port), timeout=30)


def post(connection: socket.socket, path: str, body: str, content_type: str) -> None:
    connection.sendall(
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {content_type}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n{body}".encode()
    )


def refreshing(session: Tokens) -> bytes:
    """Write a whole refresh, for who sends it in ways of its own."""
    body = json.dumps({"refresh_token": session.refresh})
    head = f"POST /refresh HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    return f"{head}\r\n\r\n{body}".encode()


@pytest.fixture(scope="module", autouse=True)
def many_files() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, max(soft, 4096)), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def http_many(server: Server) -> AsyncIterator[httpx2.AsyncClient]:
    """A client that opens a connection for each request under way."""
    limits = httpx2.Limits(max_connections=RACERS)
    async with httpx2.AsyncClient(base_url=server.url, timeout=30, limits=limits) as client:
        yield client


async def test_64_refreshes_at_one_moment_on_two_workers_end_with_one_successor(
    deployment: Deployment, api: Api, http_many: httpx2.AsyncClient
) -> None:
    session = api.sign_in()

    async with held(deployment.database_url, HOLD, session.claims["sid"]) as release:
        racers = [
            asyncio.create_task(http_many.post("/refresh", json={"refresh_token": session.refresh}))
            for _ in range(RACERS)
        ]
        # All of them stand before the row now, from both workers: this is the race.
        await until_waiting(deployment.database_url, 2 * POOL)
        await release()
        answers = [tokens(answer) for answer in await asyncio.gather(*racers)]

    assert {answer.jti for answer in answers} != {session.jti}
    assert len({answer.refresh for answer in answers}) == 1
    assert len({answer.access for answer in answers}) == RACERS
    assert tokens(api.refresh(answers[0].refresh)).jti != answers[0].jti
    assert api.is_alive(session.access)


def test_a_chain_of_refreshes_goes_on_whichever_worker_answers(api: Api, deployment: Deployment) -> None:
    session = api.sign_in()
    token = session.refresh

    seen = {session.jti}
    for _ in range(20):
        answer = tokens(api.refresh(token))
        seen.add(answer.jti)
        token = answer.refresh

    assert len(seen) == 21
    assert generation(deployment, session) == 20


def test_a_retry_within_the_grace_period_gets_the_same_successor_and_a_fresh_access_token(api: Api) -> None:
    session = api.sign_in()

    first, second = (tokens(api.refresh(session.refresh)) for _ in range(2))

    assert first.refresh == second.refresh
    assert first.access != second.access
    assert api.is_alive(first.access)
    assert api.is_alive(second.access)


def test_a_token_of_two_generations_ago_ends_the_session_and_kills_its_access_tokens(
    api: Api, deployment: Deployment
) -> None:
    session = api.sign_in()
    bystander = api.sign_in()
    second = tokens(api.refresh(session.refresh))
    third = tokens(api.refresh(second.refresh))

    answer = api.refresh(session.refresh)

    assert answer.status_code == 400
    assert answer.json()["error"] == "invalid_grant"
    for dead in (session, second, third):
        assert not api.is_alive(dead.access)
        assert api.refresh(dead.refresh).json()["error"] == "invalid_grant"
    assert api.is_alive(bystander.access)
    events = sql(
        deployment.database_url,
        "SELECT event FROM audit_events WHERE session_id = $1 ORDER BY id",
        session.claims["sid"],
    )
    assert [row["event"] for row in events] == ["session.started", "session.ended", "session.reuse"]


def test_the_token_before_is_reuse_once_the_grace_period_is_over(api: Api, deployment: Deployment) -> None:
    session = api.sign_in()
    tokens(api.refresh(session.refresh))
    sql(
        deployment.database_url,
        "UPDATE sessions SET refreshed_at = refreshed_at - interval '31 seconds' WHERE id = $1",
        session.claims["sid"],
    )

    assert api.refresh(session.refresh).json()["error"] == "invalid_grant"

    assert not api.is_alive(session.access)


def test_a_client_may_turn_the_grace_period_off(api: Api, deployment: Deployment) -> None:
    client = unique("no-grace")
    sql(
        deployment.database_url,
        "INSERT INTO clients (id, name, grant_types, first_party, refresh_grace)"
        " VALUES ($1, 'no grace', '{password,refresh_token}', true, interval '0')",
        client,
    )
    sql(deployment.database_url, "UPDATE catalog_version SET version = version + 1")
    session = api.sign_in(client_id=client)
    tokens(api.refresh(session.refresh))

    assert api.refresh(session.refresh).json()["error"] == "invalid_grant"

    assert api.me(session.access).status_code == 401


def test_the_grace_period_never_revives_a_session_that_was_revoked(api: Api) -> None:
    session = api.sign_in()
    successor = tokens(api.refresh(session.refresh))
    api.revoke(successor.refresh)

    for token in (session.refresh, successor.refresh):
        assert api.refresh(token).json()["error"] == "invalid_grant"

    assert not api.is_alive(session.access)
    assert not api.is_alive(successor.access)


def test_a_refresh_never_harms_a_live_access_token(api: Api) -> None:
    session = api.sign_in()
    answer = session

    for _ in range(5):
        answer = tokens(api.refresh(answer.refresh))

    assert api.is_alive(session.access)


def test_times_and_identity_of_the_successor_come_from_the_row(api: Api) -> None:
    session = api.sign_in()

    successor = claims(tokens(api.refresh(session.refresh)).refresh)

    assert successor["sid"] == session.claims["sid"]
    assert successor["exp"] - successor["iat"] == pytest.approx(14 * 86400, abs=1)
    assert successor["scope"] == claims(session.refresh)["scope"]


async def test_a_request_whose_caller_hung_up_rotates_nothing(deployment: Deployment) -> None:
    with deployment.having(database_pool_size="1").serving(workers=1) as server:
        with httpx2.Client(base_url=server.url, timeout=30) as http:
            api = Api(http)
            other, session = api.sign_in(), api.sign_in()
        async with (
            held(deployment.database_url, HOLD, other.claims["sid"]) as release,
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            # The worker's one connection waits for the other session's row; ours comes behind it.
            ahead = asyncio.create_task(client.post("/refresh", json={"refresh_token": other.refresh}))
            await until_waiting(deployment.database_url, 1)
            post_and_hang_up(server, session.refresh)
            assert (
                await client.get("/healthz")
            ).status_code == 200  # so the worker has read what came before
            await release()
            assert (await ahead).status_code == 200
            # One more of the same caller: it is answered after the one that hung up was looked at.
            behind = await client.post("/refresh", json={"refresh_token": other.refresh})

        assert behind.status_code == 200
        rows = await fetch(
            deployment.database_url,
            "SELECT generation, ended_at FROM sessions WHERE id = $1",
            session.claims["sid"],
        )
        assert (rows[0]["generation"], rows[0]["ended_at"]) == (0, None)


async def test_a_refresh_that_waited_past_its_deadline_does_nothing_and_may_be_sent_again(
    deployment: Deployment, api: Api
) -> None:
    session = api.sign_in()
    with deployment.having(request_deadline="0.5").serving(workers=1) as server:
        async with (
            held(deployment.database_url, HOLD, session.claims["sid"]) as release,
            httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
        ):
            late = asyncio.create_task(client.post("/refresh", json={"refresh_token": session.refresh}))
            await until_waiting(deployment.database_url, 1)
            await fetch(deployment.database_url, "SELECT pg_sleep(0.6)")
            await release()
            answer = await late

        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
        assert answer.json()["error"] == "temporarily_unavailable"
        assert tokens(api.refresh(session.refresh)).jti != session.jti


async def test_a_copy_that_waited_while_its_client_went_on_is_not_taken_for_theft(
    deployment: Deployment, server: Server, api: Api
) -> None:
    """Even if the service never learns that the copy's connection is gone; without a wait, it is theft."""
    first = api.sign_in()
    third = tokens(api.refresh(tokens(api.refresh(first.refresh)).refresh))
    async with (
        held(deployment.database_url, HOLD, first.claims["sid"]) as release,
        httpx2.AsyncClient(base_url=server.url, timeout=30) as client,
    ):
        stuck = asyncio.create_task(client.post("/refresh", json={"refresh_token": first.refresh}))
        await until_waiting(deployment.database_url, 1)
        await fetch(deployment.database_url, "SELECT pg_sleep(1)")
        await release()
        answer = await stuck

    assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
    fourth = tokens(api.refresh(third.refresh))
    assert api.refresh(first.refresh).json()["error"] == "invalid_grant"
    assert api.refresh(fourth.refresh).json()["error"] == "invalid_grant"


async def test_a_thief_who_sends_the_body_late_is_found(
    deployment: Deployment, server: Server, api: Api
) -> None:
    """Or whoever has old tokens could try them all without being noticed."""
    first = api.sign_in()
    third = tokens(api.refresh(tokens(api.refresh(first.refresh)).refresh))
    head, blank, body = refreshing(first).partition(b"\r\n\r\n")
    with connect(server) as connection:
        connection.sendall(head + blank)
        await fetch(deployment.database_url, "SELECT pg_sleep(1.5)")
        connection.sendall(body)
        assert connection.recv(65536).startswith(b"HTTP/1.1 400 ")

    assert api.refresh(third.refresh).json()["error"] == "invalid_grant"


async def test_a_thief_who_lets_a_token_wait_behind_a_request_of_its_own_is_found(
    deployment: Deployment, server: Server, api: Api
) -> None:
    own, first = api.sign_in(), api.sign_in()
    third = tokens(api.refresh(tokens(api.refresh(first.refresh)).refresh))
    with connect(server) as connection:
        async with held(deployment.database_url, HOLD, own.claims["sid"]) as release:
            connection.sendall(refreshing(own) + refreshing(first))
            await until_waiting(deployment.database_url, 1)
            await fetch(deployment.database_url, "SELECT pg_sleep(1.5)")
            await release()
        answers = b""
        while b'"invalid_grant"' not in answers:
            piece = connection.recv(65536)
            assert piece
            answers += piece
            assert b" 503 " not in answers

    assert api.refresh(third.refresh).json()["error"] == "invalid_grant"


@pytest.mark.parametrize("queued", [0, 1200])
async def test_a_copy_stuck_in_a_stopped_process_is_not_taken_for_theft(
    deployment: Deployment, queued: int
) -> None:
    """With work of more than a second that the process finds before it when it goes on, and without."""
    quick = deployment.having(request_deadline="1", max_connections="2000")
    with (
        ExitStack() as connections,
        quick.serving(workers=1) as stopped,
        quick.serving(workers=1) as healthy,
        deployment.serving(workers=1) as patient,
        httpx2.Client(base_url=healthy.url, timeout=30) as http,
        httpx2.Client(base_url=patient.url, timeout=30) as http_patient,
    ):
        api = Api(http)
        session = api.sign_in()
        ahead = [connections.enter_context(connect(stopped)) for _ in range(queued)]
        assert httpx2.get(f"{stopped.url}/healthz", timeout=30).status_code == 200  # all of them are accepted

        os.kill(stopped.process.pid, signal.SIGSTOP)
        try:
            for connection in ahead:
                post(connection, "/token", CLIENT_CREDENTIALS, "application/x-www-form-urlencoded")
            # Not closed: to the stopped process, its caller still waits.
            stuck = connections.enter_context(await asyncio.to_thread(send_refresh, stopped, session.refresh))
            second = tokens(api.refresh(session.refresh))
            third = tokens(api.refresh(second.refresh))
            await fetch(deployment.database_url, "SELECT pg_sleep(2)")
        finally:
            os.kill(stopped.process.pid, signal.SIGCONT)
        answer = await asyncio.to_thread(stuck.recv, 65536)

        assert b" 503 " in answer
        assert api.is_alive(third.access)
        assert tokens(Api(http_patient).refresh(third.refresh)).jti != third.jti
