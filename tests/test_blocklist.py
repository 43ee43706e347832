"""Whatever becomes of Redis or Postgres: what was revoked stays revoked, and service heals by itself."""

import asyncio
import os
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import httpx2
import pytest
import redis

from service import embedded
from service.account import administration as change
from service.cli import demo
from service.embedded import ports
from service.revocation import Revocation, Revocations, record
from service.users import store
from tests.faults.relay import relayed
from tests.support.client import SERVICE_AUTH, Api, Tokens, bearer
from tests.support.database import fetch, held, until, until_waiting
from tests.support.deployment import Deployment, Server, new_database, wait_until_ready
from tests.support.processes import stopped

pytestmark = pytest.mark.anyio

T = TypeVar("T")

LIFETIME = timedelta(minutes=30)


@dataclass(frozen=True)
class House:
    """A PostgreSQL and a Redis of its own, and two replicas on them."""

    servers: embedded.Servers
    folder: Path
    deployment: Deployment
    replicas: tuple[Api, Api]

    @property
    def redis(self) -> redis.Redis:
        """Redis, past the service."""
        return redis.Redis.from_url(self.servers.redis_url, decode_responses=True)

    def sign_in(self) -> Tokens:
        return self.replicas[0].sign_in()

    def revoke(self, token: str, replica: int = 0) -> None:
        self.replicas[replica].revoke(token)

    def marker(self) -> int | None:
        """How far the blocklist says that it has come."""
        with self.redis as client:
            keys = list(client.scan_iter(f"{{{self.deployment.namespace}}}:*:marker"))
            assert len(keys) <= 1
            return int(str(client.get(keys[0]))) if keys else None

    async def until_trusted(self) -> None:
        """Wait until both replicas use Redis again."""
        await until(self._problems, lambda problems: problems == [None, None], "both replicas use Redis")

    async def _problems(self) -> list[str | None]:
        answers = [replica.http.get("/readyz") for replica in self.replicas]
        return [answer.json()["parts"]["redis"]["problem"] for answer in answers]


@pytest.fixture(scope="module")
def house_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with embedded.start(folder / "servers", fsync=False) as servers:
        url = new_database(servers.database_url)
        deployment = Deployment(url, servers.redis_url, folder, "http://localhost:8000")
        deployment.prepare()
        with (
            deployment.serving(workers=1) as one,
            deployment.serving(workers=1) as two,
            client(one) as first,
            client(two) as second,
        ):
            yield House(servers, folder / "servers", deployment, (Api(first), Api(second)))


@contextmanager
def client(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=20) as http:
        yield http


@pytest.fixture
async def house(house_for_all: House) -> AsyncIterator[House]:
    await house_for_all.until_trusted()
    yield house_for_all
    await house_for_all.until_trusted()


@asynccontextmanager
async def cut_off(house: House) -> AsyncIterator[Revocations]:
    """The revocations of a replica that reaches Postgres and cannot reach Redis."""
    deployment = replace(house.deployment, redis_url=f"redis://127.0.0.1:{ports.choose()}/0")
    async with deployment.operator() as (_, revocations):
        yield revocations


async def test_a_revocation_holds_on_every_replica_once_it_is_answered(house: House) -> None:
    for replica in (0, 1) * 5:
        session = house.sign_in()
        house.revoke(session.access, replica)

        assert not house.replicas[1 - replica].is_alive(session.access)
        assert not house.replicas[replica].is_alive(session.access)


async def test_flushall_brings_no_revoked_token_back(house: House) -> None:
    token, session, live = house.sign_in(), house.sign_in(), house.sign_in()
    house.revoke(token.access)
    house.revoke(session.refresh)

    for _ in range(3):
        with house.redis as client:
            client.flushall()
        for replica in house.replicas:
            assert not replica.is_alive(token.access)
            assert not replica.is_alive(session.access)
            assert replica.is_alive(live.access)

    await house.until_trusted()
    assert house.marker() is not None
    assert not house.replicas[0].is_alive(token.access)


async def test_a_write_that_failed_between_two_that_succeeded_is_found_missing(house: House) -> None:
    first, lost, third, live = (house.sign_in() for _ in range(4))
    house.revoke(first.access)
    before = house.marker()
    assert before is not None

    async with cut_off(house) as revocations:
        # Committed to Postgres; its write to Redis fails.
        await change.sign_out(revocations, sid(lost), "administrator", LIFETIME)
    house.revoke(third.access)

    for replica in house.replicas:
        assert not replica.is_alive(lost.access)
        assert not replica.is_alive(first.access)
        assert not replica.is_alive(third.access)
        assert replica.is_alive(live.access)
    assert house.marker() == before + 2


async def test_what_a_replica_without_redis_revokes_holds_everywhere_within_a_second(house: House) -> None:
    session = house.sign_in()
    assert all(replica.is_alive(session.access) for replica in house.replicas)

    async with cut_off(house) as revocations:
        await change.sign_out(revocations, sid(session), "administrator", LIFETIME)
    async with asyncio.timeout(1):
        while any([await introspected(replica, session) for replica in house.replicas]):
            pass


async def test_a_retry_of_what_was_revoked_by_one_who_did_not_live_to_tell_is_answered_once_it_holds(
    house: House,
) -> None:
    sessions = [house.sign_in() for _ in range(8)]

    async with cut_off(house) as revocations:
        for session in sessions:
            await change.sign_out(revocations, sid(session), "administrator", LIFETIME)
            house.revoke(session.refresh)  # 200: the session has ended

            assert not house.replicas[1].introspect(session.access)["active"]


async def test_a_revocation_holds_at_once_though_the_connections_to_redis_were_reset_while_they_lay_idle(
    house: House,
) -> None:
    sessions = [house.sign_in() for _ in range(8)]
    async with relayed(house.deployment.redis_url, lambda *_: None) as relay:
        deployment = replace(house.deployment, redis_url=relay.url)
        async with deployment.operator() as (_, revocations):

            async def end(session: Tokens) -> None:
                await change.sign_out(revocations, sid(session), "administrator", LIFETIME)

            await asyncio.gather(*map(end, sessions[:4]))  # now there are some of them
            for session in sessions[4:]:
                relay.reset()
                await end(session)

                assert not await introspected(house.replicas[1], session)


async def test_while_redis_is_down_revoking_and_telling_go_on(house: House) -> None:
    revoked, later, live = (house.sign_in() for _ in range(3))
    house.revoke(revoked.access)

    house.servers.redis.kill()
    try:
        house.revoke(later.access, replica=1)

        for replica in house.replicas:
            assert not replica.is_alive(revoked.access)
            assert not replica.is_alive(later.access)
            assert replica.is_alive(live.access)
            ready = replica.http.get("/readyz")
            assert ready.status_code == 200
            assert "Redis" in ready.json()["parts"]["redis"]["problem"]
    finally:
        house.servers.redis.start()

    await house.until_trusted()
    for replica in house.replicas:
        assert not replica.is_alive(later.access)


async def test_a_redis_that_comes_back_from_an_older_copy_is_not_believed(house: House) -> None:
    house.revoke(house.sign_in().access)
    data, copy = house.folder / "redis", house.folder / "redis-older"
    shutil.copytree(data, copy)
    session = house.sign_in()
    house.revoke(session.access)
    newest = house.marker()

    house.servers.redis.kill()
    shutil.rmtree(data)
    shutil.copytree(copy, data)
    house.servers.redis.start()

    for _ in range(20):
        for replica in house.replicas:
            assert not replica.is_alive(session.access)
    await house.until_trusted()
    assert house.marker() == newest


async def test_a_redis_that_may_evict_is_not_trusted_and_readyz_says_so(house: House) -> None:
    session = house.sign_in()
    with house.redis as client:
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.client_kill_filter(_type="normal", skipme=True)
        try:
            # As if it had evicted this very entry.
            house.revoke(session.access)
            for replica in house.replicas:
                await until(
                    partial(told, replica), lambda said: "noeviction" in (said or ""), "readyz says so"
                )
            for key in client.scan_iter(f"{{{house.deployment.namespace}}}:*:jti:*"):
                client.delete(key)

            assert not any(replica.is_alive(session.access) for replica in house.replicas)
        finally:
            client.config_set("maxmemory-policy", "noeviction")
    await until(lambda: told(house.replicas[0]), lambda said: said is None, "the policy is seen to be right")
    with house.redis as client:
        client.flushall()


async def test_while_postgres_is_down_what_needs_no_record_goes_on_and_the_rest_asks_for_patience(
    house: House,
) -> None:
    revoked, live = house.sign_in(), house.sign_in()
    house.revoke(revoked.access)
    api = house.replicas[0]

    house.servers.postgres.kill()
    try:
        assert api.introspect(live.access)["active"]
        assert not api.introspect(revoked.access)["active"]
        for path in ("/.well-known/jwks.json", "/.well-known/oauth-authorization-server", "/healthz"):
            assert api.http.get(path).status_code == 200
        form = {"grant_type": "client_credentials"}
        assert api.http.post("/token", data=form, auth=SERVICE_AUTH).status_code == 200
        for answer in (
            api.refresh(live.refresh),
            api.http.post("/revoke", data={"token": live.access, "client_id": demo.APP.client_id}),
            api.http.post(
                "/token",
                data={
                    "grant_type": "password",
                    "client_id": demo.APP.client_id,
                    "username": demo.ALICE.username,
                    "password": demo.PASSWORD,
                },
            ),
            api.me(live.access),
        ):
            assert answer.status_code == 503, answer.text
            assert answer.headers["retry-after"] == "1"
        await until(lambda: ready(api), lambda status: status == 503, "not ready")
    finally:
        house.servers.postgres.start()

    await until(lambda: ready(api), lambda status: status == 200, "ready again")
    assert api.refresh(live.refresh).status_code == 200


async def test_a_worker_that_dies_while_postgres_is_down_does_not_end_the_others_and_has_a_successor_afterwards(
    house: House,
) -> None:
    live = house.sign_in()
    with house.deployment.serving(workers=2) as server:
        first, second = server.worker_pids()
        house.servers.postgres.kill()
        try:
            os.kill(first, signal.SIGKILL)
            for _ in range(2):  # successors that cannot start
                tried = {second, *server.worker_pids()}
                await until(partial(others, server, tried), bool, "another one tries", within=60)
            with client(server) as http:
                assert Api(http).introspect(live.access)["active"]
        finally:
            house.servers.postgres.start()

        os.kill(second, signal.SIGKILL)  # from now on only a successor can answer
        wait_until_ready(server)
        with client(server) as http:
            assert Api(http).refresh(live.refresh).status_code == 200


async def test_while_postgres_is_down_new_connections_to_the_same_redis_are_trusted(house: House) -> None:
    revoked, live = house.sign_in(), house.sign_in()
    house.revoke(revoked.access)
    api = house.replicas[0]

    house.servers.postgres.kill()
    try:
        with house.redis as client:
            client.client_kill_filter(_type="normal", skipme=True)
        with ThreadPoolExecutor(12) as threads:
            assert all(threads.map(lambda _: api.introspect(live.access)["active"], range(48)))
            assert not any(threads.map(lambda _: api.introspect(revoked.access)["active"], range(48)))
    finally:
        house.servers.postgres.start()
    await until(lambda: ready(api), lambda status: status == 200, "ready again")


async def test_while_postgres_hangs_whoever_needs_it_is_told_in_time_and_nobody_else_waits(
    house: House,
) -> None:
    revoked, live, other = house.sign_in(), house.sign_in(), house.sign_in()
    house.revoke(revoked.access)
    api = house.replicas[0]
    timeout = house.deployment.settings.database_timeout.total_seconds()

    with ThreadPoolExecutor(40) as threads, stopped(house.servers.postgres.pid):
        for ask in (
            partial(api.http.get, "/.well-known/jwks.json"),
            partial(api.http.get, "/healthz"),
            partial(api.http.post, "/introspect", data={"token": live.access}, auth=SERVICE_AUTH),
            partial(api.http.post, "/introspect", data={"token": revoked.access}, auth=SERVICE_AUTH),
            partial(api.http.post, "/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH),
        ):
            answer, took = timed(ask)
            assert answer.status_code == 200
            assert took < timeout / 2
        waiting = [
            threads.submit(timed, ask)
            for ask in (
                partial(api.refresh, live.refresh),
                partial(
                    api.http.post, "/revoke", data={"token": other.refresh, "client_id": demo.APP.client_id}
                ),
                partial(api.me, live.access),
                partial(api.http.post, "/logout", headers=bearer(other.access)),
                *[partial(api.http.post, "/token", data=SIGN_IN)] * 20,  # more than there are connections
            )
        ]
        answers = [each.result() for each in waiting]
        answers.append(timed(partial(api.http.get, "/readyz")))  # by now no earlier look counts

    for answer, took in answers:
        assert answer.status_code == 503, answer.text
        assert int(answer.headers["retry-after"]) >= 1
        assert took < 2 * timeout + 3
    await until(lambda: ready(api), lambda status: status == 200, "ready again")
    assert api.refresh(live.refresh).status_code == 200
    assert api.refresh(other.refresh).status_code == 200  # nothing was half done


async def test_while_redis_hangs_revoking_and_telling_go_on(house: House) -> None:
    revoked, later, live = (house.sign_in() for _ in range(3))
    house.revoke(revoked.access)
    timeout = house.deployment.settings.redis_timeout.total_seconds()

    with stopped(house.servers.redis.pid):
        _, took = timed(partial(house.revoke, later.access))
        assert took < 2 * timeout + 1
        for replica in house.replicas:
            for token, expected in ((revoked, False), (later, False), (live, True)):
                alive, took = timed(partial(replica.is_alive, token.access))
                assert alive == expected
                assert took < 2 * timeout + 1
            assert replica.http.get("/readyz").json()["parts"]["redis"]["problem"]

    await house.until_trusted()
    assert not house.replicas[1].is_alive(later.access)


async def test_introspection_goes_on_with_an_old_copy_of_the_clients_and_new_tokens_do_not(
    house: House,
) -> None:
    live = house.sign_in()
    impatient = house.deployment.having(catalog_max_age="0.9")
    with impatient.serving(workers=1) as server, client(server) as http:
        api = Api(http)
        house.servers.postgres.kill()
        try:
            await until(lambda: token_for_itself(api), lambda status: status == 503, "the copy is too old")
            assert api.introspect(live.access)["active"]
        finally:
            house.servers.postgres.start()
        await until(lambda: token_for_itself(api), lambda status: status == 200, "the copy is fresh again")


async def test_a_user_with_very_many_sessions_holds_up_nobody(house: House) -> None:
    url = house.deployment.database_url
    session, other = house.sign_in(), house.sign_in()
    await fetch(
        url,
        "INSERT INTO sessions (id, user_id, client_id, client_epoch, started_at, ends_at, amr, scopes, resources, jti,"
        " refreshed_at, expires_at) SELECT gen_random_uuid(), user_id, client_id, client_epoch, started_at, ends_at,"
        " amr, scopes, resources, gen_random_uuid(), refreshed_at, expires_at FROM sessions,"
        " generate_series(1, 5000) WHERE id = $1",
        sid(session),
    )
    number = (await fetch(url, "SELECT number FROM revocation_head"))[0]["number"]

    async with house.deployment.operator() as (database, revocations):
        async with database.connect() as db:
            user = await store.by_name(db, demo.ALICE.username)
        assert user is not None
        ended = await change.change_password(
            revocations, user, user.password_hash or "", sid(session), LIFETIME, address=None
        )

    assert ended is not None
    assert ended > 5000
    assert (await fetch(url, "SELECT number FROM revocation_head"))[0]["number"] == number + ended
    await house.until_trusted()
    assert house.marker() == number + ended
    assert not any(replica.is_alive(other.access) for replica in house.replicas)
    assert all(replica.is_alive(session.access) for replica in house.replicas)
    assert (
        len(house.replicas[0].http.get("/sessions", headers=bearer(session.access)).json()["sessions"]) == 1
    )


async def test_a_revocation_on_a_new_connection_asks_nothing_else_while_all_revokers_wait_for_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def asked(*_: object, **__: object) -> None:
        raise AssertionError("asyncpg asks what a type is made of: three statements under the lock")

    monkeypatch.setattr("asyncpg.Connection._introspect_types", asked)

    async with house.deployment.operator() as (database, _), database.transaction() as db:
        numbered = await record.append(
            db,
            [
                Revocation("sub", "somebody", "logout_all", LIFETIME, 3),
                Revocation("jti", "a token", "revoked", LIFETIME),
            ],
        )

    told = [(entry.number - numbered[0].number, entry.subject, entry.epoch) for entry in numbered]
    assert told == [(0, "somebody", 3), (1, "a token", None)]
    assert all(abs(entry.ttl_ms - LIFETIME.total_seconds() * 1000) < 60_000 for entry in numbered)


async def test_while_both_are_down_nothing_is_believed(house: House) -> None:
    live = house.sign_in()
    api = house.replicas[1]

    house.servers.redis.kill()
    house.servers.postgres.kill()
    try:
        answer = api.http.post("/introspect", data={"token": live.access}, auth=SERVICE_AUTH)
        assert answer.status_code == 503
        assert answer.headers["retry-after"] == "1"
    finally:
        house.servers.postgres.start()
        house.servers.redis.start()

    await until(lambda: ready(api), lambda status: status == 200, "ready again")
    assert api.is_alive(live.access)


async def test_a_record_restored_to_an_earlier_time_begins_a_new_timeline(house: House) -> None:
    for _ in range(3):
        house.revoke(house.sign_in().access)
    url = house.deployment.database_url
    before = (await fetch(url, "SELECT timeline, number FROM revocation_head"))[0]

    # What a restore does to the record: the last revocations are gone, their numbers free again.
    await fetch(url, "DELETE FROM revocations WHERE number > $1", before["number"] - 3)
    await fetch(url, "UPDATE revocation_head SET number = $1", before["number"] - 3)
    after = await until(
        lambda: fetch(url, "SELECT timeline, number FROM revocation_head"),
        lambda rows: rows[0]["timeline"] != before["timeline"],
        "a new timeline",
    )
    session = house.sign_in()
    house.revoke(session.access)

    assert after[0]["number"] == before["number"] - 3
    assert not any(replica.is_alive(session.access) for replica in house.replicas)
    await house.until_trusted()
    assert not any(replica.is_alive(session.access) for replica in house.replicas)


async def test_numbers_become_visible_in_their_own_order(house: House) -> None:
    """Two writers, the first held before its commit: the second cannot be seen before it."""
    url = house.deployment.database_url
    async with house.deployment.operator() as (database, _):
        async with database.connect() as db:
            before = (await record.head(db)).number

        async def write(subject: str) -> int:
            async with database.transaction() as db:
                numbered = await record.append(db, [Revocation("jti", subject, "revoked", LIFETIME)])
            return numbered[0].number

        async with held(url, "SELECT 1 FROM revocation_head FOR UPDATE") as release:
            writers = [asyncio.create_task(write("first"))]
            await until_waiting(url, 1)
            writers.append(asyncio.create_task(write("second")))
            await until_waiting(url, 2)
            async with house.deployment.operator() as (other, _), other.connect() as db:
                assert await record.since(db, before) == []
            await release()
        numbers = await asyncio.gather(*writers)
        async with database.connect() as db:
            seen = [entry.number for entry in await record.since(db, before)]

    assert sorted(numbers) == [before + 1, before + 2]
    assert seen == [before + 1, before + 2]


SIGN_IN = {
    "grant_type": "password",
    "client_id": demo.APP.client_id,
    "username": demo.ALICE.username,
    "password": demo.PASSWORD,
}


def timed(ask: Callable[[], T]) -> tuple[T, float]:
    """What was answered, and after how many seconds."""
    began = time.monotonic()
    return ask(), time.monotonic() - began


def sid(session: Tokens) -> UUID:
    return UUID(session.claims["sid"])


async def introspected(replica: Api, session: Tokens) -> bool:
    return bool((await asyncio.to_thread(replica.introspect, session.access))["active"])


async def told(replica: Api) -> str | None:
    problem: str | None = replica.http.get("/readyz").json()["parts"]["redis"]["problem"]
    return problem


async def token_for_itself(api: Api) -> int:
    return api.http.post("/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH).status_code


async def ready(replica: Api) -> int:
    return replica.http.get("/readyz").status_code


async def others(server: Server, known: set[int]) -> set[int]:
    """The workers that were not known of."""
    return {*server.worker_pids()} - known
