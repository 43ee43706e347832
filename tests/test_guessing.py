"""Guessing passwords, and clients' secrets: who guesses waits, longer each time, and nobody else does."""

import math
import secrets
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median
from typing import Any

import httpx2
import pytest
import redis

from service import embedded
from tests.support.actors import PASSWORD, Actors
from tests.support.assertions import Signer, jwks, proof
from tests.support.client import bearer, tokens, unique
from tests.support.deployment import Deployment, Server, new_database
from tests.support.processes import eventually, stopped
from tests.support.refusals import assert_invalid_client, assert_oauth_error, assert_problem

PER_ACCOUNT = 5
PER_ADDRESS = 12
PER_CLIENT = 4
REGISTRATIONS = 3

TOKEN = secrets.token_urlsafe(24)


@dataclass(frozen=True)
class House:
    """Two replicas of one worker each, on a PostgreSQL and a Redis of their own, behind a proxy that is trusted."""

    servers: embedded.Servers
    deployment: Deployment
    replicas: tuple[Server, Server]
    actors: Actors

    @property
    def redis(self) -> redis.Redis:
        """Redis, past the service."""
        return redis.Redis.from_url(self.servers.redis_url, decode_responses=True)

    def at(self, address: str, replica: int = 0) -> "Caller":
        """Somebody who calls from this address."""
        return Caller(self.replicas[replica].url, address)

    def scripts(self) -> int:
        """How many scripts Redis has run: each call of ours is one, and nothing else is while nobody is revoked."""
        with self.redis as client:
            stats: dict[str, Any] = client.info("commandstats")
        return sum(int(stats[name]["calls"]) for name in ("cmdstat_evalsha", "cmdstat_eval") if name in stats)

    def keys(self) -> list[str]:
        """The keys of all counts."""
        with self.redis as client:
            return [str(key) for key in client.scan_iter(f"{{{self.deployment.namespace}:guesses:*")]

    def prolong(self, seconds: float) -> None:
        """Let every wait that there is last so long from now on: what a machine is busy with does not count."""
        with self.redis as client:
            for key in self.keys():
                if key.endswith(":wait"):
                    client.pexpire(key, int(seconds * 1000))

    def problems(self) -> list[str | None]:
        """What each replica says of Redis."""
        return [
            httpx2.get(f"{replica.url}/readyz").json()["parts"]["redis"]["problem"]
            for replica in self.replicas
        ]

    def until_whole(self) -> None:
        eventually(lambda: self.problems() == [None, None], within=30)


@dataclass(frozen=True)
class Caller:
    """A client at an address, as the proxy tells it."""

    url: str
    address: str

    def post(self, path: str, **more: Any) -> httpx2.Response:
        headers = {"X-Forwarded-For": self.address, **more.pop("headers", {})}
        return httpx2.post(f"{self.url}{path}", headers=headers, timeout=30, verify=False, **more)

    def sign_in(self, username: str, password: str = "wrong") -> httpx2.Response:
        form = {
            "grant_type": "password",
            "client_id": "demo-app",
            "username": username,
            "password": password,
        }
        return self.post("/token", data=form)

    def as_client(self, client_id: str, secret: str, path: str = "/token") -> httpx2.Response:
        return self.post(
            path, data={"grant_type": "client_credentials", "token": "x"}, auth=(client_id, secret)
        )


@pytest.fixture(scope="module")
def house_for_all(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    folder = tmp_path_factory.mktemp("house")
    with embedded.start(folder / "servers", fsync=False) as servers:
        url = new_database(servers.database_url)
        deployment = Deployment(url, servers.redis_url, folder, "http://localhost:8000").having(
            guesses_per_account=str(PER_ACCOUNT),
            guesses_per_address=str(PER_ADDRESS),
            guesses_per_client=str(PER_CLIENT),
            registrations_per_address=str(REGISTRATIONS),
            registration="open",
            trusted_proxies="127.0.0.0/8",
            metrics_token=TOKEN,
            redis_timeout="0.5",
        )
        deployment.prepare()
        with deployment.serving(workers=1) as one, deployment.serving(workers=1) as two:
            yield House(servers, deployment, (one, two), Actors(deployment))


@pytest.fixture
def house(house_for_all: House) -> House:
    house_for_all.until_whole()
    return house_for_all


def somewhere() -> str:
    """An address that no other test calls from (RFC 2544)."""
    return f"198.{18 + secrets.randbelow(2)}.{secrets.randbelow(256)}.{secrets.randbelow(256)}"


def assert_waits(answer: httpx2.Response) -> int:
    """The refusal of the OAuth endpoints for who must wait; return for how many seconds."""
    assert_oauth_error(answer, "temporarily_unavailable", 429)
    return int(answer.headers["retry-after"])


def not_yet(caller: Caller, username: str, house: House | None = None) -> None:
    """Send wrong passwords until there is a wait, and, in a house with its Redis, make it one of minutes.

    A machine that is too busy for the first wait, of a second, meets the next, which is twice as long.
    """
    for number in range(PER_ACCOUNT + 8):
        answer = caller.sign_in(username)
        if answer.status_code == 429:
            assert number >= PER_ACCOUNT
            assert_waits(answer)
            break
        assert_oauth_error(answer, "invalid_grant")
    else:
        raise AssertionError("nobody was made to wait")
    if house is not None:
        house.prolong(60)


@dataclass(frozen=True)
class Try:
    sent: float
    answered: float
    retry_after: int | None


def test_whoever_guesses_waits_longer_each_time_and_is_told_how_long(house: House) -> None:
    user, thief = house.actors.user(), house.at(somewhere())
    for _ in range(PER_ACCOUNT - 1):
        assert_oauth_error(thief.sign_in(user.username), "invalid_grant")

    heard: list[Try] = []
    waits: list[list[Try]] = [[], [], []]

    def guess() -> bool:
        sent = time.monotonic()
        answer = thief.sign_in(user.username)
        if answer.status_code == 429:
            waits[len(heard) - 1].append(Try(sent, time.monotonic(), assert_waits(answer)))
        else:
            assert_oauth_error(answer, "invalid_grant")
            heard.append(Try(sent, time.monotonic(), None))
        return len(heard) == 3

    eventually(guess, within=60)

    for number, told in enumerate(waits[:2]):
        wait = 2**number
        assert heard[number + 1].answered - heard[number].sent >= wait
        assert all(1 <= (refused.retry_after or 0) <= wait for refused in told)
        # Once Retry-After is over, nobody is refused.
        assert all(
            later.sent <= refused.answered + (refused.retry_after or 0) for refused in told for later in told
        )
    assert waits[1]


def test_the_owner_signs_in_from_elsewhere_meanwhile_and_from_the_same_address_once_the_wait_is_over(
    house: House,
) -> None:
    user, here = house.actors.user(), somewhere()
    not_yet(house.at(here), user.username, house)

    assert_waits(house.at(here).sign_in(user.username, PASSWORD))
    tokens(house.at(somewhere()).sign_in(user.username, PASSWORD))
    house.prolong(0.001)
    eventually(lambda: house.at(here).sign_in(user.username, PASSWORD).status_code == 200, within=10)

    # And what failed before is forgotten.
    not_yet(house.at(here), user.username)


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is nobody's")
def test_where_no_proxy_says_otherwise_it_is_the_address_of_the_connection_that_counts(house: House) -> None:
    user = house.actors.user()

    def sign_in(source: str, password: str) -> int:
        with httpx2.Client(transport=httpx2.HTTPTransport(local_address=source, verify=False)) as http:
            form = {"grant_type": "password", "client_id": "demo-app", "username": user.username}
            url = f"{house.replicas[0].url}/token"
            return http.post(url, data={**form, "password": password}, timeout=30).status_code

    assert [sign_in("127.0.0.2", "wrong") for _ in range(PER_ACCOUNT)] == [400] * PER_ACCOUNT
    house.prolong(60)

    assert sign_in("127.0.0.2", PASSWORD) == 429
    assert sign_in("127.0.0.3", PASSWORD) == 200


def test_replicas_count_together(house: House) -> None:
    user, here = house.actors.user(), somewhere()

    for number in range(PER_ACCOUNT):
        assert_oauth_error(house.at(here, number % 2).sign_in(user.username), "invalid_grant")
    house.prolong(60)

    assert_waits(house.at(here, 0).sign_in(user.username))
    assert_waits(house.at(here, 1).sign_in(user.username))


def test_a_user_that_exists_and_one_that_does_not_are_answered_alike(house: House) -> None:
    user, nobody = house.actors.user(), unique("nobody")

    def told(username: str) -> list[tuple[int, str, object]]:
        thief = house.at(somewhere())
        answers = [thief.sign_in(username) for _ in range(PER_ACCOUNT)]
        house.prolong(900)
        answers += [thief.sign_in(username) for _ in range(3)]
        return [(answer.status_code, answer.text, answer.headers.get("retry-after")) for answer in answers]

    assert told(user.username) == told(nobody)


def test_names_are_counted_as_they_are_looked_up(house: House) -> None:
    user, thief = house.actors.user(), house.at(somewhere())

    for spelled in (user.username, user.username.upper(), f" {user.username}", user.username, user.username):
        assert_oauth_error(thief.sign_in(spelled), "invalid_grant")
    house.prolong(60)

    assert_waits(thief.sign_in(user.username.title()))


def test_an_address_that_tries_many_accounts_waits_with_all_of_them(house: House) -> None:
    user, sprayer, network = house.actors.user(), "2001:db8:0:1:", "2001:db8:0:2::1"

    # IPv6: whoever has one address has its /64.
    for number in range(PER_ADDRESS):
        answer = house.at(f"{sprayer}:{number + 1:x}").sign_in(unique("somebody"))
        assert_oauth_error(answer, "invalid_grant")
    house.prolong(60)

    assert_waits(house.at(f"{sprayer}:ffff").sign_in(user.username, PASSWORD))
    tokens(house.at(network).sign_in(user.username, PASSWORD))


def test_who_succeeds_is_not_counted(house: House) -> None:
    user, backend = house.actors.user(), house.at(somewhere())

    for _ in range(PER_ADDRESS - 1):
        backend.sign_in(unique("somebody"))
        tokens(backend.sign_in(user.username, PASSWORD))
        tokens(backend.sign_in(user.username, PASSWORD))


def test_a_successful_sign_in_costs_one_call_to_redis(house: House) -> None:
    user, caller = house.actors.user(), house.at(somewhere())
    caller.sign_in(unique("somebody"))
    before = house.scripts()

    for _ in range(10):
        tokens(caller.sign_in(user.username, PASSWORD))

    assert house.scripts() - before == 10


def test_a_right_client_secret_costs_no_call_to_redis_and_is_never_refused(house: House) -> None:
    service, here = house.actors.client(), somewhere()
    assert service.secret is not None
    caller = house.at(here)
    eventually(lambda: caller.as_client(service.id, service.secret or "").status_code == 200, within=10)
    before = house.scripts()

    for _ in range(10):
        assert caller.as_client(service.id, service.secret).status_code == 200
    assert house.scripts() - before == 0

    for path in ("/token", "/introspect", "/revoke", "/token"):
        assert_invalid_client(caller.as_client(service.id, "wrong", path))
    house.prolong(60)
    for path in ("/token", "/introspect", "/revoke"):
        assert_waits(caller.as_client(service.id, "wrong", path))
    assert caller.as_client(service.id, service.secret).status_code == 200
    assert_invalid_client(house.at(somewhere()).as_client(service.id, "wrong"))


def test_clients_that_do_not_exist_wait_as_others_do_and_by_their_address(house: House) -> None:
    nobody, caller = unique("nobody"), house.at(somewhere())

    for _ in range(PER_CLIENT):
        assert_invalid_client(caller.as_client(nobody, "wrong"))
    house.prolong(60)
    assert_waits(caller.as_client(nobody, "wrong"))
    for _ in range(PER_ADDRESS - PER_CLIENT):
        assert_invalid_client(caller.as_client(unique("another"), "wrong"))
    house.prolong(60)

    assert_waits(caller.as_client(unique("another"), "wrong"))


def test_the_present_password_is_guarded_from_whoever_has_stolen_an_access_token(house: House) -> None:
    user = house.actors.user()
    stolen, own = (tokens(house.at(somewhere()).sign_in(user.username, PASSWORD)) for _ in range(2))

    def change(session: Any, present: str) -> httpx2.Response:
        body = {"current_password": present, "new_password": f"{PASSWORD}!"}
        return house.at(somewhere()).post("/me/password", json=body, headers=bearer(session.access))

    for _ in range(PER_ACCOUNT):
        assert_problem(change(stolen, "wrong"), 403)
    house.prolong(60)
    refused = change(stolen, PASSWORD)
    assert_problem(refused, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 60
    assert change(own, PASSWORD).status_code == 200


def test_nobody_makes_users_without_end(house: House) -> None:
    caller = house.at(somewhere())

    def register(username: str) -> httpx2.Response:
        return caller.post("/users", json={"username": username, "password": PASSWORD})

    taken = unique("one")
    assert [register(name).status_code for name in (taken, taken, unique("two"))] == [201, 409, 201]
    house.prolong(60)
    refused = register(unique("three"))
    assert_problem(refused, 429)
    assert 0 < int(refused.headers["retry-after"]) <= 60
    caller = house.at(somewhere())
    assert register(unique("four")).status_code == 201


def test_guesses_sent_at_the_same_moment_are_not_free(house: House) -> None:
    user, here = house.actors.user(), somewhere()
    at_once = house.deployment.settings.password_threads
    began = time.monotonic()

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(lambda n: house.at(here, n % 2).sign_in(user.username), range(64)))

    found = Counter(answer.status_code for answer in answers)
    assert set(found) <= {400, 429, 503}
    # Those that nobody knew of yet, in each worker, besides those that were counted as they began; and one for
    # each wait that was over before a busy machine had sent them all.
    over = int(math.log2(time.monotonic() - began + 1))
    assert PER_ACCOUNT <= found[400] <= PER_ACCOUNT - 1 + len(house.replicas) * at_once + over


def test_the_owner_at_many_places_at_once_is_not_taken_for_a_thief(house: House) -> None:
    user, here = house.actors.user(), somewhere()

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: house.at(here, n % 2).sign_in(user.username, PASSWORD), range(32)))

    assert {answer.status_code for answer in answers} == {200}


def test_no_name_stands_in_redis_and_everything_there_ends_by_itself(house: House) -> None:
    before = set(house.keys())
    user, here = house.actors.user(), somewhere()
    for name in ("x" * 60_000, *[user.username] * PER_ACCOUNT):
        house.at(here).sign_in(name)
    house.prolong(60)

    with house.redis as client:
        new = set(house.keys()) - before
        assert len(new) == 4  # two accounts, one of them with a wait, and the address
        assert all(0 < int(str(client.pttl(key))) <= 6 * 3600 * 1000 for key in new)
    assert max(map(len, new)) < 150
    assert not [key for key in new if user.username in key or here in key]


def test_a_limit_is_told_once_to_the_audit_and_counted_each_time_that_it_refuses(house: House) -> None:
    user, here = house.actors.user(), somewhere()
    with house.deployment.serving(workers=1) as own:
        for _ in range(PER_ACCOUNT):
            Caller(own.url, here).sign_in(user.username)
        house.prolong(60)
        for _ in range(4):
            assert_waits(Caller(own.url, here).sign_in(user.username))
        metrics = httpx2.get(f"{own.url}/metrics", headers=bearer(TOKEN)).text

    assert 'sealwright_limited_total{limit="account"} 4.0' in metrics
    events = house.deployment.cli("audit", "--event", "limit.reached", "--limit", "100").stdout
    told = [line for line in events.splitlines() if here in line]
    assert len(told) == 1
    assert "times" not in told[0]
    assert f"wrong passwords for an account from an address  user={user.username}" in told[0]


def test_an_operator_lets_a_user_in_at_once_or_a_whole_address(house: House) -> None:
    user, other, here, there = house.actors.user(), house.actors.user(), somewhere(), somewhere()
    email = f"{user.username}@example.com"
    for name, at in ((user.username, here), (email, here), (user.username, there), (other.username, there)):
        for _ in range(PER_ACCOUNT):
            house.at(at).sign_in(name)
    house.prolong(600)

    done = house.deployment.cli("unblock", "--user", user.username)
    assert done.stderr == "Forgot 3 counts of failures.\n"
    tokens(house.at(here).sign_in(user.username, PASSWORD))
    tokens(house.at(here).sign_in(email, PASSWORD))
    tokens(house.at(there).sign_in(user.username, PASSWORD))
    assert_waits(house.at(there).sign_in(other.username, PASSWORD))

    house.deployment.cli("unblock", "--address", there)
    tokens(house.at(there).sign_in(other.username, PASSWORD))
    told = house.deployment.cli("audit", "--event", "limit.lifted").stdout
    assert f"user={user.username}" in told
    assert f"address={there}" in told
    assert "Say whom" in house.deployment.cli("unblock", check=False).stderr


@contextmanager
def broken(house: House, how: str) -> Iterator[None]:
    with house.redis as client:
        match how:
            case "gone":
                house.servers.redis.kill()
                try:
                    yield
                finally:
                    house.servers.redis.start()
            case "stuck":
                with stopped(house.servers.redis.pid):
                    yield
            case _:
                client.config_set("maxmemory", 1)
                try:
                    yield
                finally:
                    client.config_set("maxmemory", 0)


@pytest.mark.parametrize("how", ["gone", "stuck", "full"])
def test_without_redis_each_replica_counts_by_itself_and_nobody_waits_for_redis(
    house: House, how: str
) -> None:
    user, other, here = house.actors.user(), house.actors.user(), somewhere()
    took = []

    def sign_in(address: str, username: str) -> None:
        began = time.monotonic()
        tokens(house.at(address).sign_in(username, PASSWORD))
        took.append(time.monotonic() - began)

    with broken(house, how):
        not_yet(house.at(here), user.username)
        sign_in(here, other.username)
        for _ in range(6):
            sign_in(somewhere(), user.username)
        assert house.problems()[0] is not None

    assert median(took) < house.deployment.settings.redis_timeout.total_seconds()
    house.until_whole()
    sign_in(somewhere(), user.username)  # a Redis that was started anew has to be told the script
    before = house.scripts()
    sign_in(somewhere(), user.username)
    assert house.scripts() - before == 1


def test_a_wrong_assertion_counts_as_a_wrong_secret_does_and_a_right_one_is_never_refused(
    house: House,
) -> None:
    signer, thief, caller = Signer(), Signer(), house.at(somewhere())
    client = house.actors.client(jwks=jwks(signer))

    def ask(signed_by: Signer) -> httpx2.Response:
        form = proof(signed_by.assertion(client.id, {"kid": signer.key.kid}))
        return caller.post("/token", data={"grant_type": "client_credentials", **form})

    eventually(lambda: ask(signer).status_code == 200, within=10)
    for _ in range(PER_CLIENT):
        assert_invalid_client(ask(thief))
    house.prolong(60)
    assert_waits(ask(thief))
    assert ask(signer).status_code == 200
