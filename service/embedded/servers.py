"""Both servers, as development and the tests want them."""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

from service.embedded import home
from service.embedded.postgres import PostgresServer
from service.embedded.redis import RedisServer
from service.embedded.watching import Watcher


class Servers:
    """A PostgreSQL and a Redis that run until `stop`, the end of a `with`, or the end of this process."""

    def __init__(
        self, postgres: PostgresServer, redis: RedisServer, watcher: Watcher, held: ExitStack
    ) -> None:
        self.postgres = postgres
        self.redis = redis
        self._watcher = watcher
        self._held = held

    @property
    def database_url(self) -> str:
        """An empty database at first, and the role that owns the whole server; with the password."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """Database 0 of Redis; with the password."""
        return self.redis.url

    @property
    def pids(self) -> dict[str, int]:
        """The processes by name."""
        return {"watcher": self._watcher.pid, "postgres": self.postgres.pid, "redis": self.redis.pid}

    @property
    def are_watched(self) -> bool:
        """Whether the watcher lives; when it is killed, the servers go with it."""
        return self._watcher.is_alive

    def stop(self) -> None:
        """Stop both in order. Stopping twice is fine."""
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def start(directory: Path, *, fsync: bool = True) -> Servers:
    """Start both servers with the data in `directory`, made at the first start and kept for the next.

    A few hundred milliseconds at first, fewer then. `fsync=False` is for tests: the data outlives crashes of
    the servers but not of the machine.

    Raises:
        BusyError: another program has its servers there.
        EmbeddedError: they cannot be started; the text says why and what to do.
    """
    directory = home.prepare(directory)
    with ExitStack() as held:
        lock = held.enter_context(home.claimed(directory))
        for name in ("postgres.log", "redis.log"):
            (directory / name).unlink(missing_ok=True)
        watcher = Watcher(lock, directory / "watcher.log")
        held.callback(watcher.dismiss)
        memory = home.recall(directory)
        is_new = memory is None
        if memory is None:
            memory = home.new_memory()
        postgres = PostgresServer(directory, watcher, memory.password, memory.postgres_port, fsync=fsync)
        redis = RedisServer(directory, watcher, memory.password, memory.redis_port, fsync=fsync)
        postgres.prepare(reset_password=is_new)
        home.remember(directory, memory)
        postgres.start()
        redis.start()
        home.remember(directory, replace(memory, postgres_port=postgres.port, redis_port=redis.port))
        return Servers(postgres, redis, watcher, held.pop_all())
