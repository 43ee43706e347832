"""Real servers for the whole run, one deployment with two workers for each test process."""

from collections.abc import Iterator
from contextlib import ExitStack, suppress
from os import environ  # noqa: TID251  # the one way to tell xdist's workers
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext

import httpx2
import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings

from service.cli import demo
from tests.support.actors import PASSWORD, READER, Actors, add_test_roles
from tests.support.canary import CANARY, Leaked, kept, listening
from tests.support.client import Api
from tests.support.command import Command
from tests.support.deployment import (
    KEY_ENCRYPTION_KEY,
    METRICS_TOKEN,
    PRESSED,
    Deployment,
    Server,
    drop_database,
    new_database,
)
from tests.support.servers import running

_held = ExitStack()

# That a machine is busy is no failure.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("fuzz", settings.get_profile("any machine"), max_examples=1000)
settings.load_profile("any machine")

_NO_CERTIFICATES = SSLContext(PROTOCOL_TLS_CLIENT)
"""For clients that never use TLS: each would load all of the machine's certificates, 20 ms and more."""


def pytest_configure(config: pytest.Config) -> None:
    # Once for all processes of the run: the first starts the servers, the workers are told by their environment.
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    urls = _held.enter_context(running(environ.get("TEST_DATABASE_URL"), environ.get("TEST_REDIS_URL")))
    environ["TEST_DATABASE_URL"], environ["TEST_REDIS_URL"] = urls.database, urls.redis
    config.stash[_KIND] = urls.kind


_KIND = pytest.StashKey[str]()


def pytest_report_header(config: pytest.Config) -> str:
    return f"servers: {config.stash.get(_KIND, 'none')}"


def pytest_unconfigure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        _held.close()


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def server_urls() -> tuple[str, str]:
    """The URLs of PostgreSQL and Redis, shared by all tests."""
    return environ["TEST_DATABASE_URL"], environ["TEST_REDIS_URL"]


@pytest.fixture(scope="session", autouse=True)
def canary(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Listen for secrets, and at the end look for them in all that is still there: no test may leave one behind."""
    for url in server_urls:
        CANARY.learn(sa.make_url(url).password or "", "the servers' password")
    for secret in (KEY_ENCRYPTION_KEY, METRICS_TOKEN, PASSWORD, demo.PASSWORD, demo.SERVICE_SECRET):
        CANARY.learn(secret, "a constant of the tests")
    with listening():
        yield
    logs = tmp_path_factory.getbasetemp().rglob("*.log")
    with suppress(Leaked):
        CANARY.look(
            ("Redis", kept(server_urls[1])),
            *((f"the log {log.name}", log.read_text(errors="replace")) for log in logs),
        )
    # All of them: of several errors at the end of a session pytest shows one.
    assert not CANARY.leaks, "\n".join(CANARY.leaks)


@pytest.fixture
def empty_database(server_urls: tuple[str, str]) -> Iterator[str]:
    """The URL of a new database with nothing in it."""
    url = new_database(server_urls[0])
    yield url
    drop_database(server_urls[0], url)


@pytest.fixture(scope="session")
def deployment(
    server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Deployment]:
    """A migrated and seeded deployment of this test process."""
    url = new_database(server_urls[0])
    made = Deployment(url, server_urls[1], tmp_path_factory.mktemp("deployment"), "http://localhost:8000")
    made.prepare()
    add_test_roles(made)
    yield made
    drop_database(server_urls[0], url)


@pytest.fixture
def sealed(server_urls: tuple[str, str], empty_database: str, tmp_path: Path) -> Deployment:
    """A deployment of one test's own, whose keys are in Postgres and live fast."""
    made = Deployment(empty_database, server_urls[1], tmp_path, "http://localhost:8000")
    own = made.having(**PRESSED, key_store="postgres", key_encryption_key=KEY_ENCRYPTION_KEY)
    own.prepare()
    return own


@pytest.fixture(scope="session")
def server(deployment: Deployment) -> Iterator[Server]:
    """The deployment's two workers."""
    with deployment.serving(workers=2) as running_server:
        yield running_server


@pytest.fixture(scope="session")
def welcoming(deployment: Deployment) -> Iterator[Server]:
    """A worker of the deployment that lets users come and go by themselves: what is off by default."""
    open_to_all = deployment.having(registration="open", registration_roles=READER, self_deletion="on")
    with open_to_all.serving(workers=1) as running_server:
        yield running_server


@pytest.fixture
def http(server: Server) -> Iterator[httpx2.Client]:
    """A client of the service that goes to either worker as the connections fall."""
    with httpx2.Client(base_url=server.url, timeout=20, verify=_NO_CERTIFICATES) as client:
        yield client


@pytest.fixture
def api(http: httpx2.Client) -> Api:
    """The service, spoken to."""
    return Api(http)


@pytest.fixture
def actors(deployment: Deployment) -> Actors:
    """Makes users and clients that no other test meets."""
    return Actors(deployment)


@pytest.fixture
def command(deployment: Deployment, monkeypatch: pytest.MonkeyPatch) -> Command:
    """Runs commands of the deployment in this process."""
    return Command(deployment, monkeypatch)
