"""Which PostgreSQL and Redis the suite runs on: those it is given, else Docker's, else the embedded ones."""

import shutil
import subprocess
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from service import embedded
from tests.support.folders import temporary


@dataclass(frozen=True)
class Urls:
    """Where the two servers are reached; the role may create databases."""

    database: str
    redis: str
    kind: str


@contextmanager
def running(database_url: str | None, redis_url: str | None) -> Iterator[Urls]:
    """Yield servers; stop what was started here."""
    if database_url and redis_url:
        yield Urls(database_url, redis_url, "the given servers")
        return
    with ExitStack() as stack:
        urls = _in_docker(stack) if _docker_answers() else "Docker does not answer"
        if isinstance(urls, str):
            directory = stack.enter_context(temporary("tests"))
            servers = stack.enter_context(embedded.start(directory, fsync=False))
            urls = Urls(servers.database_url, servers.redis_url, f"embedded servers ({urls})")
        yield urls


def _docker_answers() -> bool:
    docker = shutil.which("docker")
    if docker is None:
        return False
    try:
        return subprocess.run([docker, "info"], capture_output=True, timeout=20, check=False).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _in_docker(stack: ExitStack) -> Urls | str:
    """Start both in containers, or return why they cannot be."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # testcontainers' own
        try:
            from testcontainers.community.postgres import PostgresContainer
            from testcontainers.community.redis import RedisContainer

            postgres = stack.enter_context(PostgresContainer("postgres:18", driver=None))
            redis = stack.enter_context(RedisContainer("redis:8"))
        # Whatever keeps Docker from starting them, the embedded ones serve as well.
        except Exception as error:  # noqa: BLE001
            stack.close()
            return f"Docker's images do not start: {type(error).__name__}"
        url = postgres.get_connection_url()
        host, port = redis.get_container_host_ip(), redis.get_exposed_port(6379)
        return Urls(url, f"redis://{host}:{port}/0", "Docker containers")
