"""The machine that it was measured on."""

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from cryptography.hazmat.backends.openssl import backend as openssl
from redis import Redis

from service.embedded import Servers
from tests.support.database import sql

_PACKAGES = ("cryptography", "uvicorn", "uvloop", "httptools", "fastapi", "asyncpg", "redis")


def described(servers: Servers) -> dict[str, str]:
    """Say what all figures depend on."""
    postgres = str(sql(servers.database_url, "SHOW server_version")[0][0])
    with Redis.from_url(servers.redis_url) as redis:
        redis_version = str(redis.info("server")["redis_version"])
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "cpu": f"{_cpu()}, {len(os.sched_getaffinity(0))} cores",
        "kernel": f"{platform.system()} {platform.release()}",
        "python": f"{platform.python_implementation()} {platform.python_version()}",
        "servers": f"PostgreSQL {postgres}, Redis {redis_version}",
        "libraries": ", ".join(
            [f"{name} {version(name)}" for name in _PACKAGES] + [openssl.openssl_version_text()]
        ),
    }


def line(servers: Servers) -> str:
    """Say it in a sentence, for a table's foot."""
    said = described(servers)
    return f"{said['date']}; {said['cpu']}; {said['servers']}."


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return " ".join(value.split())
    return platform.machine()
