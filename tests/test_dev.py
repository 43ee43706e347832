"""`sealwright dev`, as a developer meets it: a real process, its signals, its banner, its data."""

import json
import os
import shutil
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.embedded import ports
from tests.support.processes import eventually, is_running

SEALWRIGHT = Path(sys.executable).with_name("sealwright")
LAST_LINE = "Ctrl-C stops everything"

# Starts a program and stays its parent, as make does.
STARTER = "import subprocess, sys; subprocess.run(sys.argv[1:], check=False)"


class Dev:
    """A `sealwright dev` that is ready."""

    def __init__(self, process: subprocess.Popen[str], folder: Path, banner: str) -> None:
        self.process = process
        self.banner = banner
        self.facts: dict[str, Any] = json.loads((folder / ".sealwright/dev.json").read_text())
        self.issuer: str = self.facts["issuer"]
        self.pids: dict[str, int] = self.facts["pids"]

    def token(self, **form: str) -> httpx2.Response:
        return httpx2.post(f"{self.issuer}/token", data={"client_id": "demo-app", **form}, timeout=30)


def environment(**more: str) -> dict[str, str]:
    """The developer's environment, without a setting of Sealwright's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SEALWRIGHT_")}  # noqa: TID251
    return {**kept, **more}


@contextmanager
def dev(
    folder: Path, *before: str, port: int | None = None, options: tuple[str, ...] = (), **settings: str
) -> Iterator[Dev]:
    port = port or ports.choose(None)
    with subprocess.Popen(
        [*before, str(SEALWRIGHT), "dev", "--port", str(port), *options],
        cwd=folder,
        env=environment(**settings),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            banner = ""
            while LAST_LINE not in banner:
                line = process.stdout.readline()
                assert line, process.stderr.read()
                banner += line
            yield Dev(process, folder, banner)
        finally:
            process.terminate()
            process.communicate(timeout=30)


def refused(folder: Path, *options: str, **settings: str) -> str:
    """What a `sealwright dev` that does not start says."""
    done = subprocess.run(
        [SEALWRIGHT, "dev", *options],
        cwd=folder,
        env=environment(**settings),
        capture_output=True,
        text=True,
        check=False,
        timeout=30,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    return done.stderr


def nothing_is_left(of: Dev) -> bool:
    port = int(of.issuer.rpartition(":")[2])
    return ports.is_free(port) and not any(map(is_running, of.pids.values()))


def test_metrics_are_on_a_port_of_their_own_where_one_is_set(tmp_path: Path) -> None:
    port = ports.choose(None)
    with dev(tmp_path, SEALWRIGHT_METRICS_PORT=str(port)):
        told = httpx2.get(f"http://127.0.0.1:{port}/metrics").text

    assert "sealwright_requests_total" in told


def test_the_banners_lines_can_be_pasted_into_a_shell_one_after_the_other(tmp_path: Path) -> None:
    assert shutil.which("curl"), "this test pastes curl lines: install curl"
    with dev(tmp_path) as running:
        assert max(map(len, running.banner.splitlines())) <= 80
        tour = running.banner[running.banner.index("  S=http") : running.banner.index(LAST_LINE)]
        done = subprocess.run(
            ["/bin/sh", "-eu"],
            input=tour,
            env=environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=30,
        )
        assert (done.returncode, done.stderr) == (0, "")
        signed_in, alice, refreshed, jwks, revoked, refused_now = map(json.loads, done.stdout.splitlines())
    assert alice["username"] == "alice"
    assert refreshed["access_token"] != signed_in["access_token"]
    assert refreshed["refresh_token"] != signed_in["refresh_token"]
    assert [key["kty"] for key in jwks["keys"]] == ["RSA"]
    assert revoked == 200
    assert refused_now["error"] == "invalid_token"


def test_everything_that_the_banner_names_is_there(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        for url in [word for word in running.banner.split() if word.startswith(f"{running.issuer}/")]:
            assert httpx2.get(url, timeout=30).status_code == 200, url
        for user in ("alice", "root"):
            assert running.token(grant_type="password", username=user, password="wonderland").is_success
        service = httpx2.post(
            f"{running.issuer}/token",
            data={"grant_type": "client_credentials"},
            auth=("demo-service", "demo-service-secret"),
            timeout=30,
        )
        assert service.is_success


def test_dev_json_tells_other_tools_where_everything_is_while_it_runs(tmp_path: Path) -> None:
    path = tmp_path / ".sealwright/dev.json"
    port = ports.choose(None)
    with dev(tmp_path, port=port) as running:
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert running.issuer == f"http://localhost:{port}"
        assert running.facts["database_url"].startswith("postgresql://sealwright:")
        assert running.facts["redis_url"].startswith("redis://:")
        assert set(running.pids) == {"dev", "watcher", "postgres", "redis"}
        assert all(map(is_running, running.pids.values()))
    assert not path.exists()


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_everything_and_the_next_start_goes_on_with_the_same_data(
    tmp_path: Path, how: signal.Signals
) -> None:
    port = ports.choose(None)
    with dev(tmp_path, port=port) as first:
        tokens = first.token(grant_type="password", username="alice", password="wonderland").json()
        first.process.send_signal(how)
        said = first.process.communicate(timeout=10)
        assert first.process.returncode == 0
        assert said == ("", "Stopped.\n")
        assert nothing_is_left(first)
    with dev(tmp_path, port=port) as second:
        assert second.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).is_success


def test_after_kill_9_all_is_gone_within_five_seconds_and_the_next_start_copes(tmp_path: Path) -> None:
    port = ports.choose(None)
    with dev(tmp_path, port=port) as first:
        tokens = first.token(grant_type="password", username="alice", password="wonderland").json()
        first.process.kill()
        eventually(lambda: nothing_is_left(first), within=5)
    with dev(tmp_path, port=port) as second:
        assert second.token(grant_type="refresh_token", refresh_token=tokens["refresh_token"]).is_success


def test_with_its_parent_killed_all_is_gone_within_five_seconds(tmp_path: Path) -> None:
    with dev(tmp_path, sys.executable, "-c", STARTER, options=("--stop-with-parent",)) as running:
        assert running.process.pid != running.pids["dev"]
        running.process.kill()
        eventually(lambda: nothing_is_left(running), within=5)


def test_it_ends_with_a_word_when_its_servers_are_killed_under_it(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        os.kill(running.pids["watcher"], signal.SIGKILL)
        _, said = running.process.communicate(timeout=10)
        assert running.process.returncode == 1
        assert "PostgreSQL and Redis are gone" in said
        assert nothing_is_left(running)


def test_a_taken_port_is_one_clear_line_and_nothing_is_begun(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refused(tmp_path, "--port", str(port))
    assert said == f"Port {port} of 127.0.0.1 is taken. Stop what listens there, or: make run PORT=8123\n"
    assert list(tmp_path.iterdir()) == []


def test_a_second_dev_in_the_same_folder_is_one_clear_line(tmp_path: Path) -> None:
    with dev(tmp_path) as running:
        said = refused(tmp_path, "--port", str(ports.choose(None)))
        assert said == (
            f"{tmp_path / '.sealwright'} is in use by another `sealwright dev` "
            f"(process {running.pids['dev']}): stop that one first\n"
        )
        assert httpx2.get(f"{running.issuer}/readyz", timeout=30).is_success


def test_it_refuses_to_run_in_production(tmp_path: Path) -> None:
    said = refused(tmp_path, SEALWRIGHT_ENVIRONMENT="production")
    assert said.startswith("SEALWRIGHT_ENVIRONMENT says production")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("SEALWRIGHT_ISSUER", "https://auth.example.com"),
        ("SEALWRIGHT_DATABASE_URL", "postgresql://user:hush@db.example/name"),
        ("SEALWRIGHT_REDIS_URL", "redis://:hush@cache.example/0"),
        ("SEALWRIGHT_KEYS_DIR", "/var/lib/sealwright/keys"),
    ],
)
def test_it_refuses_to_run_where_a_deployment_is_configured(tmp_path: Path, name: str, value: str) -> None:
    by_environment = refused(tmp_path, **{name: value})
    assert list(tmp_path.iterdir()) == []
    (tmp_path / ".env").write_text(f"{name}={value}\n")
    by_file = refused(tmp_path)

    assert by_environment == by_file
    assert f"{name}. Unset" in by_file
    assert "set SEALWRIGHT_ENVIRONMENT=development" in by_file
    assert by_file.count("\n") == 1
    assert "hush" not in by_file
    assert [path.name for path in tmp_path.iterdir()] == [".env"]


def test_a_developer_may_keep_the_settings_of_a_stack_of_their_own(tmp_path: Path) -> None:
    lines = ("ENVIRONMENT=development", "DATABASE_URL=postgresql://db.example/name", "KEYS_DIR=own")
    (tmp_path / ".env").write_text("".join(f"SEALWRIGHT_{line}\n" for line in lines))
    with dev(tmp_path) as running:
        assert running.facts["database_url"].startswith("postgresql://sealwright:")
        assert (tmp_path / "own/ring.json").is_file()


def test_a_wrong_setting_is_one_line_before_anything_is_begun(tmp_path: Path) -> None:
    said = refused(tmp_path, SEALWRIGHT_PASSWORD_THREADS="many")
    assert said.startswith("SEALWRIGHT_PASSWORD_THREADS: ")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
