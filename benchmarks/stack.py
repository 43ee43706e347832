"""The stack that is measured: PostgreSQL and Redis as development has them, and the service as production has it."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2

from benchmarks.meters import Meter, cpu
from service import embedded
from service.embedded import ports
from service.settings import Settings
from tests.support.client import Api
from tests.support.deployment import GENEROUS, Deployment, Server, new_database
from tests.support.folders import temporary

WORKERS = 2
_PATIENT = {"password_wait": "60"}
"""A machine that is busy with other things is slow, and that must end no measurement."""

_HASHES = ("password_memory_kib", "password_iterations", "password_parallelism")
_OTHERWISE = ("log_level", "access_log", *(name.removeprefix("SEALWRIGHT_").lower() for name in GENEROUS))
"""What the tests have otherwise than production."""


def _usual(names: Iterable[str]) -> dict[str, str]:
    return {name: str(Settings.model_fields[name].default) for name in names}


@dataclass(frozen=True)
class Ground:
    """What the service stands on."""

    deployment: Deployment
    servers: embedded.Servers
    folder: Path

    @contextmanager
    def serving(self) -> Iterator["Stack"]:
        """Run the service, with two workers."""
        with self.deployment.serving(workers=WORKERS) as server:
            yield Stack(self.deployment, self.servers, self.folder, server)

    def another(self) -> "Ground":
        """Make a deployment with a database of its own, on the same servers, for what never hashes a password."""
        return Ground(_deployment(self.servers, self.folder / "another", {}), self.servers, self.folder)


@dataclass(frozen=True)
class Stack(Ground):
    """Everything that runs."""

    server: Server

    @property
    def port(self) -> int:
        """Where the service listens."""
        return int(self.server.url.rpartition(":")[2])

    @property
    def cpu(self) -> Meter:
        """The CPU of the three."""
        pids = self.servers.pids
        return cpu(service=self.server.process.pid, postgres=pids["postgres"], redis=pids["redis"])

    def sign_in(self, count: int) -> list[str]:
        """Sign in so many times; return the refresh tokens."""
        with httpx2.Client(base_url=self.server.url, timeout=60) as client:
            return [Api(client).sign_in().refresh for _ in range(count)]


@contextmanager
def prepared(settings: Mapping[str, str], *, hashes: bool = True) -> Iterator[Ground]:
    """Start the servers and prepare a deployment with the settings of production, but for those that are given.

    `hashes=False`: passwords are hashed in next to no time, for what signs in often and measures something else.
    """
    own = _usual(_HASHES) if hashes else {}
    with temporary("bench") as folder, embedded.start(folder / "data") as servers:
        yield Ground(_deployment(servers, folder / "one", {**own, **settings}), servers, folder)


def _deployment(servers: embedded.Servers, folder: Path, settings: Mapping[str, str]) -> Deployment:
    database = new_database(servers.database_url)
    bare = Deployment(database, servers.redis_url, folder, "https://auth.example.com")
    new = bare.having(**{**_usual(_OTHERWISE), **settings})
    new.prepare()
    return new.having(environment="production", metrics_port=str(ports.choose()), **_PATIENT)
