"""What is harmed: two workers, with a PostgreSQL and a Redis of their own."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from service import embedded
from tests.support.actors import Actors, Person
from tests.support.deployment import Deployment, new_database

SETTINGS = {
    "signing_algorithm": "ES256",
    "key_watch_interval": "0.1",
    "key_publication": "2",
    "jwks_max_age": "2",
    "key_rotation": "0",
    "guesses_per_account": "1000",
    "guesses_per_address": "10000",
    "database_pool_size": "4",
}
"""Keys that live for months do so in seconds; whoever keeps the JWKS for two of them knows a key before it signs.
So few connections are all taken while the clients' refreshes wait for a lock.

A user who is disabled, and tries again, is no guesser; the counting of guesses is there all the same.
"""


@dataclass(frozen=True)
class House:
    """A deployment of its own."""

    servers: embedded.Servers
    folder: Path
    deployment: Deployment

    def users(self, count: int) -> list[Person]:
        """Make users."""
        actors = Actors(self.deployment)
        return [actors.user() for _ in range(count)]

    def keep_redis(self) -> None:
        """Keep what Redis holds now, for `older_redis`."""
        shutil.rmtree(self._redis_kept, ignore_errors=True)
        shutil.copytree(self._redis_data, self._redis_kept)

    def older_redis(self) -> None:
        """Put back what was kept; Redis must be down."""
        shutil.rmtree(self._redis_data)
        shutil.copytree(self._redis_kept, self._redis_data)

    @property
    def _redis_data(self) -> Path:
        return self.folder / "servers" / "redis"

    @property
    def _redis_kept(self) -> Path:
        return self.folder / "redis-older"


@contextmanager
def built(folder: Path, *, fsync: bool) -> Iterator[House]:
    """Start the servers; make the database, a key and the demo."""
    with embedded.start(folder / "servers", fsync=fsync) as servers:
        url = new_database(servers.database_url)
        deployment = Deployment(url, servers.redis_url, folder, "http://localhost:8000").having(**SETTINGS)
        deployment.prepare()
        yield House(servers, folder, deployment)
