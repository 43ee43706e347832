"""`sealwright serve`: what it refuses, how it ends, and what it leaves behind (nothing)."""

import asyncio
import os
import resource
import signal
import subprocess
import time
from dataclasses import replace
from pathlib import Path
from subprocess import PIPE, STDOUT

import httpx2
import pytest

from service.cli import demo, descriptors
from service.cli.seed import seed
from service.embedded import ports
from tests.support.client import Api, tokens
from tests.support.command import Command
from tests.support.database import held, until, until_waiting
from tests.support.deployment import SEALWRIGHT, Deployment
from tests.support.processes import eventually, is_running

pytestmark = pytest.mark.anyio

HOLD = "SELECT 1 FROM sessions WHERE id = $1 FOR UPDATE"


async def test_requests_under_way_are_answered_before_it_ends(deployment: Deployment) -> None:
    with deployment.serving(workers=1) as server:
        async with httpx2.AsyncClient(base_url=server.url, timeout=30) as client:
            form = {"grant_type": "password", "client_id": demo.APP.client_id}
            who = {"username": demo.ALICE.username, "password": demo.PASSWORD}
            session = tokens(await client.post("/token", data=form | who))
            async with held(deployment.database_url, HOLD, session.claims["sid"]) as release:
                under_way = asyncio.create_task(
                    client.post("/refresh", json={"refresh_token": session.refresh})
                )
                await until_waiting(deployment.database_url, 1)
                server.process.send_signal(signal.SIGTERM)
                await until(
                    lambda: asyncio.to_thread(server.log.read_text),
                    lambda log: "Shutting down" in log,
                    "it is shutting down",
                )
                await release()
                answer = await under_way

        assert answer.status_code == 200
        # In order, and then by the signal that asked for it, as a supervisor expects.
        assert await asyncio.to_thread(server.process.wait, 10) in {0, -signal.SIGTERM}
        assert "Application shutdown complete" in server.log.read_text()


async def test_workers_end_when_the_process_above_them_is_killed(deployment: Deployment) -> None:
    with deployment.serving(workers=2) as server:
        workers = server.worker_pids()
        assert len(workers) >= 2

        os.kill(server.process.pid, signal.SIGKILL)
        began = time.monotonic()

        async def running() -> list[int]:
            return [pid for pid in workers if is_running(pid)]

        await until(running, lambda left: left == [], "all workers are gone")
        assert time.monotonic() - began < 5


def test_a_worker_that_is_killed_has_a_successor_which_can_be_ended_at_once(deployment: Deployment) -> None:
    with deployment.serving(workers=2) as server:
        workers = server.worker_pids()
        assert len(workers) == 2
        os.kill(workers[0], signal.SIGKILL)
        eventually(lambda: len({*server.worker_pids()} - {*workers}) == 1, within=30)

        server.process.terminate()  # the new one has hardly begun

        assert server.process.wait(30) == 0
        assert not any(map(is_running, workers))


def test_processes_that_are_killed_leave_no_file_behind(deployment: Deployment, tmp_path: Path) -> None:
    own = replace(deployment, extra={**deployment.extra, "TMPDIR": str(tmp_path)})
    with own.serving(workers=2) as server:
        os.killpg(server.process.pid, signal.SIGKILL)
        server.process.wait(20)

    assert list(tmp_path.iterdir()) == []


def test_it_takes_the_open_files_that_its_connections_need_or_says_what_is_missing(
    deployment: Deployment, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed = (1024, 2000)
    taken = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: allowed)
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: taken.append(limits))

    descriptors.allow(deployment.having(max_connections="1000").settings)
    assert [(1000 < soft <= 2000, hard) for soft, hard in taken] == [(True, 2000)]

    command.of(deployment.having(max_connections="2000"))
    said = command.refused("serve")
    assert "SEALWRIGHT_MAX_CONNECTIONS" in said
    assert "allows 2000" in said


def test_a_folder_without_keys_is_refused_with_what_to_run(deployment: Deployment, tmp_path: Path) -> None:
    refused = deployment.having(keys_dir=str(tmp_path)).cli("serve", check=False)

    assert refused.returncode == 1
    assert "sealwright keys generate" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_key_that_others_may_read_is_refused_by_its_name(deployment: Deployment, tmp_path: Path) -> None:
    own = deployment.having(keys_dir=str(tmp_path))
    own.cli("keys", "generate")
    (pem,) = tmp_path.glob("*.pem")
    pem.chmod(0o644)

    refused = own.cli("serve", check=False)

    assert refused.returncode == 1
    assert str(pem) in refused.stderr
    assert "chmod 600" in refused.stderr


@pytest.mark.parametrize("workers", [1, 2])
def test_of_two_started_at_one_moment_on_one_port_the_other_is_refused(
    deployment: Deployment, workers: int
) -> None:
    port = ports.choose()
    command = [*SEALWRIGHT, "serve", "--port", str(port), "--workers", str(workers)]
    started = [
        subprocess.Popen(command, env=deployment.env, cwd=deployment.directory, stdout=PIPE, stderr=STDOUT)
        for _ in range(2)
    ]
    try:
        eventually(lambda: any(process.poll() is not None for process in started), within=30)
        refused, serving = sorted(started, key=lambda process: process.poll() is None)
        said, _ = refused.communicate(timeout=5)
        assert f"Cannot listen on port {port} of 127.0.0.1" in said.decode()
        assert (refused.returncode, serving.poll()) == (1, None)
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=30)


def test_a_missing_setting_is_named(deployment: Deployment) -> None:
    refused = deployment.having(issuer="").cli("serve", check=False)

    assert refused.returncode == 1
    assert refused.stderr.startswith("SEALWRIGHT_ISSUER")


def test_a_database_that_cannot_be_reached_is_one_line(deployment: Deployment) -> None:
    nowhere = deployment.having(database_url="postgresql://nobody:secret-word@127.0.0.1:1/nothing")

    refused = nowhere.cli("serve", check=False)

    assert refused.returncode == 1
    assert "SEALWRIGHT_DATABASE_URL" in refused.stderr
    assert refused.stderr.count("\n") == 1
    assert "secret-word" not in refused.stderr
    assert nowhere.cli("migrate", check=False).stderr == refused.stderr


def test_the_demo_is_not_seeded_in_production(deployment: Deployment) -> None:
    production = deployment.having(environment="production", issuer="https://auth.example.com").settings

    with pytest.raises(RuntimeError, match="development"):
        asyncio.run(seed(production))


def test_the_log_of_a_whole_conversation_holds_no_secret(deployment: Deployment) -> None:
    with deployment.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=30) as http:
        api = Api(http)
        session = api.sign_in()
        successor = tokens(api.refresh(session.refresh))
        tokens(api.refresh(successor.refresh))
        api.refresh(session.refresh)
        http.get(f"/me?access_token={session.access}")
        http.post("/token", data={"grant_type": "password", "username": "alice", "password": "my-typo"})
        log = server.log.read_text()

    assert "reuse" in log
    for secret in (session.access, session.refresh, successor.refresh, demo.PASSWORD, "my-typo"):
        assert secret not in log
