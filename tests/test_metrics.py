"""What a running service tells of itself: right across its workers, closed unless opened, and without secrets."""

import json
import os
import re
import secrets
import signal
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from service import board, metrics
from service.board import Board, Family
from service.cli import scraping
from service.embedded import ports
from service.metrics import Exposition, Metrics
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, bearer, tokens
from tests.support.deployment import Deployment, Server
from tests.support.processes import eventually
from tests.support.refusals import assert_bearer_error, assert_problem

TOKEN = secrets.token_urlsafe(24)
MARK = f"canary{secrets.token_hex(8)}"

Sample = tuple[str, frozenset[tuple[str, str]]]


@dataclass(frozen=True)
class Watched:
    """A service of two workers with JSON logs, /metrics on a port of its own and, with a token, on the main one."""

    server: Server
    metrics_url: str

    def scrape(self) -> dict[Sample, float]:
        answer = httpx2.get(self.metrics_url, headers=bearer(TOKEN))
        assert answer.status_code == 200
        return samples(answer.text)

    def count(self, name: str, **labels: str) -> float:
        """The sum of the series that have these labels."""
        return sum(
            value
            for (found, with_labels), value in self.scrape().items()
            if found == name and labels.items() <= dict(with_labels).items()
        )

    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.server.log.read_text().splitlines()]


def samples(text: str) -> dict[Sample, float]:
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


@pytest.fixture(scope="module")
def watched(deployment: Deployment) -> Iterator[Watched]:
    port = ports.choose()
    own = deployment.having(metrics_port=str(port), metrics_token=TOKEN, log_format="json", access_log="true")
    with own.serving(workers=2) as server:
        yield Watched(server, f"http://127.0.0.1:{port}/metrics")


@pytest.fixture
def own_api(watched: Watched) -> Iterator[Api]:
    with httpx2.Client(base_url=watched.server.url, timeout=30) as http:
        yield Api(http)


def ask_often(watched: Watched, times: int) -> None:
    # A connection each: the kernel gives them to either worker.
    for _ in range(times):
        assert httpx2.get(f"{watched.server.url}/healthz", timeout=30).status_code == 200


def test_counts_are_right_across_workers_and_outlive_a_worker_that_is_killed(watched: Watched) -> None:
    def asked() -> float:
        return watched.count("sealwright_requests_total", route="/healthz", method="GET", status="200")

    before = asked()
    ask_often(watched, 20)
    assert asked() == before + 20
    assert watched.count("sealwright_request_duration_seconds_count", route="/healthz") == before + 20

    workers = watched.server.worker_pids()
    os.kill(workers[0], signal.SIGKILL)
    assert asked() == before + 20
    eventually(lambda: bool(set(watched.server.worker_pids()) - set(workers)), within=60)
    eventually(lambda: watched.count("sealwright_workers") == 2, within=60)
    ask_often(watched, 20)
    assert asked() == before + 40


def test_grants_rotations_and_revocations_are_counted_by_what_came_of_them(
    watched: Watched, own_api: Api, actors: Actors
) -> None:
    person = actors.user()
    before = watched.scrape()
    first = own_api.sign_in(person.username, PASSWORD)
    second = tokens(own_api.refresh(first.refresh))
    tokens(own_api.refresh(first.refresh))
    own_api.refresh("rubbish")
    tokens(own_api.refresh(second.refresh))
    own_api.refresh(first.refresh)
    own_api.http.post("/token", data={"grant_type": "password", "client_id": "demo-app"})
    after = watched.scrape()

    def rise(name: str, **labels: str) -> float:
        key = (name, frozenset(labels.items()))
        return after.get(key, 0) - before.get(key, 0)

    assert rise("sealwright_grants_total", grant="password", outcome="issued") == 1
    assert rise("sealwright_grants_total", grant="refresh_token", outcome="issued") == 3
    assert rise("sealwright_grants_total", grant="refresh_token", outcome="invalid_grant") == 2
    assert rise("sealwright_grants_total", grant="unknown", outcome="invalid_request") == 1
    assert rise("sealwright_rotations_total", outcome="rotated") == 2
    assert rise("sealwright_rotations_total", outcome="grace") == 1
    assert rise("sealwright_rotations_total", outcome="reuse") == 1
    assert rise("sealwright_revocations_total", kind="sid", reason="reuse") == 1
    assert rise("sealwright_signing_seconds_count") == 8
    assert rise("sealwright_password_hash_seconds_count") == 1


def test_gauges_tell_of_each_worker_and_of_the_keys(watched: Watched) -> None:
    def workers(name: str) -> set[str]:
        return {dict(labels)["worker"] for series, labels in watched.scrape() if series == name}

    # One that was killed before this may just be replaced.
    eventually(lambda: workers("sealwright_database_connections_max") == {"0", "1"}, within=30)
    eventually(lambda: watched.count("sealwright_redis_trusted") == 2, within=30)
    now = watched.scrape()
    by_name: dict[str, list[tuple[dict[str, str], float]]] = {}
    for (name, labels), value in now.items():
        by_name.setdefault(name, []).append((dict(labels), value))

    assert {labels["worker"] for labels, _ in by_name["sealwright_database_connections_max"]} == {"0", "1"}
    assert all(value == 0 for _, value in by_name["sealwright_blocklist_marker_lag"])
    [(active, one)] = by_name["sealwright_signing_key"]
    assert active["state"] == "active"
    assert one == 1
    [(aged, age)] = by_name["sealwright_signing_key_age_seconds"]
    assert aged["kid"] == active["kid"]
    assert age > 0
    assert by_name["sealwright_build_info"][0][1] == 1


def test_every_series_is_in_the_page_for_operators_and_no_other() -> None:
    page = (Path(__file__).parent.parent / "docs" / "observability.md").read_text()
    told = set(re.findall(r"^\| `(sealwright_\w+)` \|", page, re.MULTILINE))
    there = {
        name + ("_total" if family.kind == "counter" else "") for name, family in metrics.FAMILIES.items()
    }

    assert told == there | {"sealwright_workers", "sealwright_build_info"}


def test_metrics_are_closed_unless_they_are_opened(http: httpx2.Client) -> None:
    assert_problem(http.get("/metrics"), 404)


def test_metrics_take_their_token_and_nothing_else(watched: Watched, own_api: Api) -> None:
    for wrong in ({}, bearer(TOKEN + "x"), {"Authorization": f"Basic {TOKEN}"}):
        assert httpx2.get(watched.metrics_url, headers=wrong).status_code == 401
        assert_bearer_error(own_api.http.get("/metrics", headers=wrong))
    answer = own_api.http.get("/metrics", headers=bearer(TOKEN))
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain")
    assert "sealwright_workers" in answer.text
    elsewhere = httpx2.get(watched.metrics_url.replace("/metrics", "/"), headers=bearer(TOKEN))
    assert elsewhere.status_code == 404


def test_who_holds_connections_to_the_port_of_metrics_holds_no_threads_for_long(watched: Watched) -> None:
    address = urlsplit(watched.metrics_url)

    def connected(held: ExitStack) -> socket.socket:
        return held.enter_context(
            socket.create_connection((address.hostname, address.port), timeout=scraping.TIMEOUT + 20)
        )

    def threads() -> int:
        return len(list(Path(f"/proc/{watched.server.process.pid}/task").iterdir()))

    before = threads()
    with ExitStack() as held:
        for _ in range(scraping.MAX_CONNECTIONS):
            connected(held).sendall(b"GET /metrics HTTP/1.1\r\nHalf-a-head: ")
        beyond = [connected(held) for _ in range(scraping.MAX_CONNECTIONS)]
        assert [connection.recv(1) for connection in beyond] == [b""] * len(beyond)
        assert threads() <= before + scraping.MAX_CONNECTIONS

        def is_answered() -> bool:
            with suppress(httpx2.TransportError):
                return bool(watched.scrape())
            return False

        eventually(is_answered, within=scraping.TIMEOUT + 20)


def test_an_id_travels_from_the_request_into_its_lines_and_its_answer(watched: Watched, own_api: Api) -> None:
    mine = f"trace-{secrets.token_hex(6)}"
    answer = own_api.http.get("/nowhere", headers={"X-Request-Id": mine})
    assert answer.headers["x-request-id"] == mine
    assert answer.json()["request_id"] == mine

    refused = f"trace-{secrets.token_hex(6)}"
    own_api.http.post("/refresh", json={"refresh_token": "rubbish"}, headers={"X-Request-Id": refused})

    def told() -> list[dict[str, Any]]:
        return [line for line in watched.lines() if line.get("request_id") == refused]

    # The line of the request comes after its answer.
    eventually(
        lambda: {line["event"].partition(":")[0] for line in told()} == {"refused", "request"}, within=10
    )
    lines = told()
    [access] = [line for line in lines if line["logger"] == "sealwright.access"]
    assert (access["method"], access["route"], access["status"]) == ("POST", "/refresh", 400)


@pytest.mark.parametrize(
    "junk",
    [
        b"short",
        b"x" * 65,
        b"with a space in it",
        b'quote"quote"',
        "ünïcödé-id".encode("latin-1"),
        b"eyJhbGciOiJSUzI1NiJ9.e30.x",
        b"swcs_" + b"A" * 43,
        b"%0d%0a-injected",
    ],
)
def test_an_id_that_could_do_harm_is_replaced(watched: Watched, own_api: Api, junk: bytes) -> None:
    answer = own_api.http.get("/healthz", headers=[(b"X-Request-Id", junk)])

    assert re.fullmatch("[0-9a-f]{16}", answer.headers["x-request-id"])
    assert junk.decode("latin-1") not in watched.server.log.read_text()


def test_nothing_secret_and_nothing_sent_by_strangers_is_in_any_line_or_series(
    watched: Watched, own_api: Api, actors: Actors
) -> None:
    person, client = actors.user(), actors.client()
    session = own_api.sign_in(person.username, PASSWORD)
    successor = tokens(own_api.refresh(session.refresh))
    http = own_api.http
    http.post(
        "/token", data={"grant_type": "password", "username": MARK, "password": MARK}, auth=(MARK, MARK)
    )
    http.post("/token", data={"grant_type": "client_credentials"}, auth=client.basic)
    http.post("/token", data={"grant_type": MARK, "client_id": "demo-app", "code": MARK})
    http.post("/refresh", json={"refresh_token": f"eyJ{MARK}.{MARK}.{MARK}"}, headers={"Cookie": f"a={MARK}"})
    http.post("/refresh", content=f'{{"refresh_token": "{MARK}', headers={"Content-Type": "application/json"})
    http.get(f"/{MARK}?access_token={session.access}", headers={"User-Agent": MARK, "Referer": MARK})
    http.get("/me", headers=bearer(MARK))
    http.get("/me", headers=bearer(session.access))
    http.request("PROPFIND", "/token")
    http.post("/introspect", data={"token": successor.access}, auth=client.basic)
    http.delete(f"/sessions/{MARK}", headers=bearer(successor.access))
    http.post("/logout", headers=bearer(successor.access))

    log = watched.server.log.read_text()
    series = httpx2.get(watched.metrics_url, headers=bearer(TOKEN)).text

    assert client.secret is not None
    told = (
        MARK,
        MARK.upper(),
        PASSWORD,
        session.access,
        session.refresh,
        successor.refresh,
        client.secret,
        TOKEN,
    )
    for secret in told:
        assert secret not in series
        # Who fails to authenticate is named, shortened and quoted, for the operator to see.
        assert secret not in re.sub(rf"client_id '{MARK}'", "", log)
    assert person.username not in series
    assert '"method":"other"' in log
    assert all({"timestamp", "level", "event", "logger"} <= line.keys() for line in watched.lines())


def test_a_seat_that_is_full_counts_no_more_and_harms_nothing() -> None:
    counts = Board()
    seat = counts.take_seat()
    family = Family("sealwright_many", "counter", "", ("n",))
    for number in range(board.CAPACITY + 10):
        seat.cell(family, (str(number),)).add()

    [reading] = counts.read({family.name: family})
    assert board.CAPACITY > len(reading.series) > board.CAPACITY - 100
    assert all(series.values == (1.0,) for series in reading.series)


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "in an unlinked file"])
def test_a_worker_takes_the_seat_of_one_that_is_gone_and_goes_on_from_its_counts(
    monkeypatch: pytest.MonkeyPatch, *, in_memory: bool
) -> None:
    if not in_memory:
        monkeypatch.delattr(os, "memfd_create", raising=False)  # as on macOS
    counts = Board()
    first, second = counts.take_seat(), counts.take_seat()
    Metrics(first).grants["password", "issued"].add(3)
    second.cell(metrics.HASH_QUEUE).set(7)
    first.close()

    third = counts.take_seat()
    Metrics(third).grants["password", "issued"].add()
    found = samples(Exposition(counts, None).text("")[0].decode())

    assert (first.number, second.number, third.number) == (0, 1, 0)
    labels = frozenset({("grant", "password"), ("outcome", "issued")})
    assert found["sealwright_grants_total", labels] == 4
    assert found["sealwright_password_hash_queue", frozenset({("worker", "1")})] == 7
    assert found["sealwright_workers", frozenset()] == 2
