"""The stack of docker-compose.yml on a real engine, in three replicas: `make test-compose`. Not part of `make test`.

Ports 8000 to 8010 of this machine must be free. The images are built with the network of this machine.
"""

import json
import re
import secrets
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.client import Api, bearer, tokens
from tests.support.pages import ROOT, end_of, pattern, script, shown_after, to_run
from tests.support.processes import eventually

HERE = "http://localhost:8000"
PATIENCE = 240.0
CALLERS = 4
ORDERS = "examples/orders/Dockerfile"


def why_not() -> str | None:
    """Why the stack cannot be brought up here."""
    if shutil.which("docker") is None:
        return "there is no docker on PATH"
    if subprocess.run(["docker", "info"], capture_output=True, timeout=20, check=False).returncode != 0:
        return "no Docker engine answers `docker info`"
    if not compose():
        return "there is neither `docker compose` nor docker-compose"
    return None


def compose() -> list[str]:
    v2 = subprocess.run(["docker", "compose", "version"], capture_output=True, timeout=20, check=False)
    if v2.returncode == 0:
        return ["docker", "compose"]
    return ["docker-compose"] if shutil.which("docker-compose") else []


class Stack:
    """The stack under a name of its own, beside whatever else runs on this engine."""

    def __init__(self) -> None:
        self._command = [*compose(), "-p", f"sealwright-test-{secrets.token_hex(3)}"]

    def __call__(self, *words: str) -> str:
        done = subprocess.run(
            [*self._command, *words], cwd=ROOT, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def replicas(self) -> dict[str, str]:
        """The URL of every running replica, by its container's id."""
        ids = self("ps", "-q", "auth").split()
        seen = json.loads(docker("inspect", *ids)) if ids else []
        return {
            one["Id"]: f"http://127.0.0.1:{one['NetworkSettings']['Ports']['8000/tcp'][0]['HostPort']}"
            for one in seen
            if one["State"]["Running"] and one["NetworkSettings"]["Ports"].get("8000/tcp")
        }

    def scale(self, replicas: int) -> list[str]:
        """Bring it up with so many replicas; return their URLs once all are ready."""
        self("up", "-d", "--no-build", "--scale", f"auth={replicas}")
        eventually(lambda: sum(map(ready, self.replicas().values())) == replicas, within=PATIENCE)
        return list(self.replicas().values())


def docker(*words: str) -> str:
    return subprocess.run(
        ["docker", *words], cwd=ROOT, capture_output=True, text=True, timeout=900, check=True
    ).stdout


def ready(url: str) -> bool:
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


@pytest.fixture(scope="module")
def stack() -> Iterator[Stack]:
    problem = why_not()
    if problem:
        pytest.skip(f"the stack is not brought up: {problem}")
    docker("build", "--network", "host", "--tag", "sealwright", ".")
    docker("build", "--network", "host", "--tag", "sealwright-orders", "--file", ORDERS, ".")
    made = Stack()
    try:
        yield made
    finally:
        made("down", "--volumes")


@pytest.mark.timeout(900)
def test_the_first_minute_of_the_readme_is_the_same_on_the_stack(stack: Stack) -> None:
    [url] = stack.scale(1)
    readme = ROOT / "README.md"

    said = subprocess.run(
        ["sh", "-euc", script(readme).replace(HERE, url)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout

    for block in to_run(readme):
        output, _, said = said.partition(f"{end_of(block)}\n")
        assert re.fullmatch(pattern(shown_after(readme)[block.line]), output.strip(), re.DOTALL), output


@pytest.mark.timeout(900)
def test_orders_takes_a_token_of_the_stack_until_it_is_revoked(stack: Stack) -> None:
    [url] = stack.scale(1)
    orders = "http://localhost:8010"
    eventually(lambda: ready(orders), within=PATIENCE)
    with httpx2.Client(base_url=url, timeout=60) as http:
        signed_in = Api(http).sign_in()

        def listed() -> int:
            return httpx2.get(f"{orders}/orders", headers=bearer(signed_in.access), timeout=5).status_code

        assert listed() == 200
        Api(http).revoke(signed_in.access)
        eventually(lambda: listed() == 401, within=10)


@pytest.mark.timeout(900)
def test_the_service_has_no_right_that_it_does_not_need(stack: Stack) -> None:
    stack.scale(1)
    [replica] = stack.replicas()
    tried = docker(
        "exec", replica, "sh", "-c", "id -u; touch /etc/x /opt/sealwright/x 2>&1; grep CapEff /proc/1/status"
    )

    assert tried.splitlines()[0] == "10001"
    assert tried.count("Read-only file system") == 2
    assert tried.split()[-1] == "0000000000000000"


@pytest.mark.timeout(900)
def test_a_replica_killed_under_traffic_signs_nobody_out(stack: Stack) -> None:
    urls = stack.scale(3)
    callers = [Caller(urls, start) for start in range(CALLERS)]
    eventually(lambda: all(caller.refreshed >= 20 for caller in callers), within=PATIENCE)
    victim = next(iter(stack.replicas()))

    docker("kill", "--signal", "KILL", victim)
    seen = [caller.refreshed for caller in callers]
    eventually(
        lambda: all(now.refreshed >= before + 50 for now, before in zip(callers, seen, strict=True)),
        within=PATIENCE,
    )
    for caller in callers:
        caller.end()

    sys.stderr.write(
        f"\n{sum(caller.refreshed for caller in callers)} refreshes by {CALLERS} sessions on 3 replicas, "
        f"{sum(caller.retried for caller in callers)} of them asked again, "
        f"{sum(bool(caller.refused) for caller in callers)} signed out\n"
    )
    assert [caller.refused for caller in callers] == [""] * CALLERS
    assert sum(caller.retried for caller in callers) > 0, "the kill met no request: it proved nothing"


@pytest.mark.timeout(900)
def test_a_replica_that_is_stopped_ends_by_itself(stack: Stack) -> None:
    stack.scale(1)
    [replica] = stack.replicas()

    docker("stop", "--time", "30", replica)

    [state] = json.loads(docker("inspect", replica))
    assert state["State"]["ExitCode"] == 0


class Caller:
    """A client that refreshes without a pause, as README tells it to: what was not answered is asked again."""

    def __init__(self, urls: list[str], start: int) -> None:
        self.refreshed = self.retried = 0
        self.refused = ""
        self._urls, self._turn = urls, start
        self._ending = threading.Event()
        with httpx2.Client(base_url=urls[0], timeout=60) as http:
            self._live = Api(http).sign_in().refresh
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._thread.start()

    def end(self) -> None:
        self._ending.set()
        self._thread.join(PATIENCE)

    def _go_on(self) -> None:
        with httpx2.Client(timeout=5) as http:
            while not self._ending.is_set() and not self.refused:
                self._refresh(http)

    def _refresh(self, http: httpx2.Client) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            self._turn += 1
            url = self._urls[self._turn % len(self._urls)]
            try:
                answer = http.post(f"{url}/refresh", json={"refresh_token": self._live})
            except httpx2.TransportError:
                self.retried += 1
                continue
            if answer.status_code == 503:
                self.retried += 1
                continue
            if answer.status_code != 200:
                self.refused = answer.text
                return
            self.refreshed += 1
            self._live = tokens(answer).refresh
            return
        self.refused = "no answer within 30 s"
