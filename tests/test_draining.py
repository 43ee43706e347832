"""Replicas come and go under traffic, and no request is lost."""

import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import pytest

from tests.support.client import SERVICE_AUTH
from tests.support.deployment import Deployment, Server
from tests.support.processes import eventually

TOLD_EVERY = 0.05
"""Seconds between two looks of the balancer at /readyz."""


@pytest.fixture
def draining(deployment: Deployment) -> Deployment:
    return deployment.having(drain_delay="3")


def test_a_worker_that_is_told_to_stop_says_so_at_once_and_answers_until_the_delay_is_over(
    draining: Deployment,
) -> None:
    with draining.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        assert "connection" not in http.get("/healthz").headers

        server.process.send_signal(signal.SIGTERM)
        told_at = time.monotonic()
        eventually(lambda: http.get("/readyz").status_code == 503, within=10)

        assert http.get("/readyz").json()["status"] == "draining"
        # From a supervisor and from its parent: the second is no order to hurry.
        server.process.send_signal(signal.SIGTERM)
        for path in ("/healthz", "/.well-known/jwks.json"):
            answer = http.get(path)
            assert answer.status_code == 200
            assert answer.headers["connection"] == "close"
        server.process.wait(20)
        assert time.monotonic() - told_at >= 3


class Traffic:
    """Clients that go, over connections they keep, to whichever replica is ready."""

    def __init__(self, *servers: Server) -> None:
        self.answers: Counter[int | str] = Counter()
        self._servers = list(servers)
        self._ready = list(servers)
        self._over = threading.Event()
        self._probe = httpx2.Client(timeout=2, verify=False)

    def add(self, server: Server) -> None:
        self._servers.append(server)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=self._balance)]
        threads += [threading.Thread(target=self._ask) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._over.set()
            for thread in threads:
                thread.join(30)
            self._probe.close()

    def _balance(self) -> None:
        while not self._over.wait(TOLD_EVERY):
            self._ready = [server for server in self._servers if self._is_ready(server)]

    def _is_ready(self, server: Server) -> bool:
        try:
            return self._probe.get(f"{server.url}/readyz").status_code == 200
        except httpx2.TransportError:
            return False

    def _ask(self) -> None:
        with httpx2.Client(timeout=20) as http:
            turn = 0
            while not self._over.is_set():
                turn += 1
                ready = self._ready
                url = f"{ready[turn % len(ready)].url}/token"
                try:
                    answer = http.post(url, data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH)
                    self.answers[answer.status_code] += 1
                except httpx2.TransportError as error:
                    self.answers[repr(error)] += 1


def test_in_a_rolling_restart_under_traffic_no_request_is_lost(draining: Deployment) -> None:
    with draining.serving(workers=2) as old, draining.serving(workers=2) as new:
        traffic = Traffic(old)
        with traffic.flowing():
            eventually(lambda: traffic.answers.total() > 20, within=20)
            traffic.add(new)
            old.process.send_signal(signal.SIGTERM)
            old.process.wait(30)
            before = traffic.answers.total()
            eventually(lambda: traffic.answers.total() > before + 20, within=20)

    assert set(traffic.answers) == {200}, traffic.answers
