"""Keys change by themselves, on every replica at once, and a replica that cannot keep up says so."""

import asyncio
import json
import os
import signal
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from sealwright import KeySet, verify_signed
from service.cli import demo
from tests.support.client import SERVICE_AUTH, Api, bearer, kid, tokens
from tests.support.database import until
from tests.support.deployment import PRESSED, Deployment, Server

pytestmark = pytest.mark.anyio


@pytest.fixture
def pressed(deployment: Deployment, tmp_path: Path) -> Deployment:
    """The deployment of all tests with a ring of its own, in a hurry."""
    own = deployment.having(**PRESSED, keys_dir=str(tmp_path / "keys"))
    own.cli("keys", "generate")
    return own


@pytest.fixture(params=["pressed", "sealed"], ids=["files", "Postgres"])
def hurried(request: pytest.FixtureRequest) -> Deployment:
    """Each of the two."""
    found: Deployment = request.getfixturevalue(request.param)
    return found


@contextmanager
def api_of(server: Server) -> Iterator[Api]:
    with httpx2.Client(base_url=server.url, timeout=20) as http:
        yield Api(http)


async def listed(deployment: Deployment) -> list[dict[str, Any]]:
    done = await asyncio.to_thread(deployment.cli, "keys", "list", "--json")
    found: list[dict[str, Any]] = json.loads(done.stdout)
    return found


class Traffic:
    """Sessions that are refreshed at one replica, their tokens shown at once to the other and to a stranger."""

    def __init__(self, replicas: list[httpx2.AsyncClient]) -> None:
        self._replicas = replicas
        self.seen: Counter[str] = Counter()
        self._keys = KeySet()

    async def session(self, number: int, until_: float) -> None:
        one = self._replicas[number % len(self._replicas)]
        form = {
            "grant_type": "password",
            "client_id": demo.APP.client_id,
            "username": demo.ALICE.username,
            "password": demo.PASSWORD,
        }
        body = await _ok(one.post("/token", data=form))
        step = number
        while time.monotonic() < until_:
            step += 1
            here, there = (self._replicas[(step + i) % len(self._replicas)] for i in (0, 1))
            body = await _ok(here.post("/refresh", json={"refresh_token": body["refresh_token"]}))
            access = body["access_token"]
            self.seen[kid(access)] += 1
            await _ok(there.get("/me", headers=bearer(access)))
            told = await _ok(there.post("/introspect", data={"token": access}, auth=SERVICE_AUTH))
            assert told["active"]
            await self._stranger(access, there)

    async def _stranger(self, access: str, replica: httpx2.AsyncClient) -> None:
        if kid(access) not in self._keys:
            answer = await replica.get("/.well-known/jwks.json")
            self._keys = KeySet.from_jwks(answer.content)
        verify_signed(access, self._keys, typ="at+jwt", algorithms=["ES256"])


async def _ok(request: Any) -> dict[str, Any]:
    answer = await request
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@asynccontextmanager
async def clients(*servers: Server) -> AsyncIterator[list[httpx2.AsyncClient]]:
    async with AsyncExitStack() as stack:
        yield [
            await stack.enter_async_context(httpx2.AsyncClient(base_url=server.url, timeout=30))
            for server in servers
        ]


@pytest.mark.parametrize("seconds", [8, pytest.param(60, marks=pytest.mark.minute)])
async def test_rotating_every_second_under_constant_refresh_and_verify_refuses_nobody(
    hurried: Deployment, seconds: int
) -> None:
    own = hurried.having(key_rotation="1")
    with own.serving(workers=1) as one, own.serving(workers=1) as two:
        async with clients(one, two) as replicas, asyncio.TaskGroup() as group:
            traffic = Traffic(replicas)
            for number in range(4):
                group.create_task(traffic.session(number, time.monotonic() + seconds))

    assert len(traffic.seen) >= seconds / 4
    assert traffic.seen.total() > seconds


async def test_a_new_key_waits_for_a_replica_that_lacks_it_which_is_not_ready_and_says_so(
    pressed: Deployment, tmp_path: Path
) -> None:
    keys_dir, mount = tmp_path / "keys", tmp_path / "mount"
    mount.symlink_to(keys_dir)
    cut = pressed.having(keys_dir=str(mount))
    with (
        pressed.serving(workers=1) as well,
        cut.serving(workers=1) as lost,
        api_of(well) as api,
        api_of(lost) as other,
    ):
        old = kid(api.sign_in().access)
        mount.unlink()

        async def readiness() -> tuple[int, str]:
            answer = other.http.get("/readyz")
            return answer.status_code, str(answer.json()["parts"]["keys"]["problem"])

        await until(readiness, lambda seen: str(mount) in seen[1], "the folder is missed")
        assert (await readiness())[0] == 200, "it goes on with the last good ring"
        said = pressed.cli("keys", "rotate").stderr
        assert "It signs once every running replica publishes it" in said
        new = said.split()[0]
        await until(
            readiness, lambda seen: seen[0] == 503 and f"lacks {new}" in seen[1], "it says what it lacks"
        )
        assert api.http.get("/readyz").status_code == 200
        [waiting] = [key for key in await listed(pressed) if key["kid"] == new]
        assert (waiting["state"], waiting["signs_from"]) == ("next", None)
        assert kid(api.sign_in().access) == old
        assert other.is_alive(api.sign_in().access)

        mount.symlink_to(keys_dir)
        await until(readiness, lambda seen: seen == (200, "None"), "it is ready again")

        async def signs() -> str:
            return kid(other.sign_in().access)

        await until(signs, lambda seen: seen == new, "the new key signs", within=30)
        assert kid(api.sign_in().access) == new


async def test_a_replica_that_is_stopped_is_not_waited_for_and_catches_up(pressed: Deployment) -> None:
    with (
        pressed.serving(workers=1) as well,
        pressed.serving(workers=1) as lost,
        api_of(well) as api,
        api_of(lost) as other,
    ):
        before = other.sign_in()
        os.kill(lost.process.pid, signal.SIGSTOP)
        try:
            new = pressed.cli("keys", "rotate").stderr.split()[0]

            async def signs() -> str:
                return kid(api.sign_in().access)

            await until(signs, lambda seen: seen == new, "the new key signs", within=30)
            session = api.sign_in()
            assert api.is_alive(before.access)
        finally:
            os.kill(lost.process.pid, signal.SIGCONT)

        async def taken() -> bool:
            return other.me(session.access).status_code == 200

        await until(taken, bool, "it has caught up", within=30)
        assert other.is_alive(before.access)

        async def refreshed() -> httpx2.Response:
            return other.refresh(session.refresh)  # a worker that was stopped asks to be asked again

        answer = await until(refreshed, lambda seen: seen.status_code == 200, "it refreshes", within=30)
        assert kid(tokens(answer).access) == new
