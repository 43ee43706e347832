"""What cannot be avoided, measured bare: a signature, a password's hash, a commit.

A program of its own, `python -m benchmarks.floors`, with the floor as JSON in its argument; it prints what one costs.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import asyncpg
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pwdlib.hashers.argon2 import Argon2Hasher

from benchmarks.meters import TICK, cpu
from service.settings import Settings

_MESSAGE = b"m" * 600
"""As long as a token."""

_TABLE = (
    "CREATE TABLE IF NOT EXISTS bench_commits (id int PRIMARY KEY, n bigint NOT NULL) WITH (fillfactor = 50)"
)
_ROW = "INSERT INTO bench_commits VALUES ($1, 0) ON CONFLICT DO NOTHING"
_COMMIT = "UPDATE bench_commits SET n = n + 1 WHERE id = $1"


@dataclass(frozen=True)
class Cost:
    """Of one, in milliseconds."""

    cpu: float
    p50: float
    """How long it took."""


def signature(key: Path, seconds: float) -> Cost:
    """Sign as RS256 does, with cryptography alone, on as many processes as the service has workers."""
    return _measured({"floor": "signature", "key": str(key), "seconds": seconds}, processes=2)


def password(seconds: float) -> Cost:
    """Hash a password with Argon2 at the parameters of production, on as many threads as the service has."""
    return _measured({"floor": "password", "seconds": seconds}, processes=2)


def commit(database_url: str, postgres: int, connections: int, seconds: float) -> Cost:
    """Change one number in one row, each connection in a row of its own; the CPU is that of Postgres."""
    task = {"floor": "commit", "url": database_url, "postgres": postgres, "connections": connections}
    return _measured(task | {"seconds": seconds}, processes=1)


def _measured(task: dict[str, Any], processes: int) -> Cost:
    program = [sys.executable, "-m", "benchmarks.floors", json.dumps(task)]
    running = [subprocess.Popen(program, stdout=subprocess.PIPE) for _ in range(processes)]
    said = [process.communicate()[0] for process in running]
    costs = [Cost(**json.loads(line)) for line in said]
    return Cost(*(sum(getattr(cost, name) for cost in costs) / processes for name in ("cpu", "p50")))


def _repeated(work: Callable[[], object], seconds: float) -> Cost:
    work()
    count, used, began = 0, time.process_time(), time.perf_counter()
    while time.perf_counter() < began + seconds:
        work()
        count += 1
    took = time.perf_counter() - began
    return Cost((time.process_time() - used) / count * 1000, took / count * 1000)


def _sign(key: str, seconds: float) -> Cost:
    private = load_pem_private_key(Path(key).read_bytes(), None)
    assert isinstance(private, rsa.RSAPrivateKey)
    return _repeated(lambda: private.sign(_MESSAGE, padding.PKCS1v15(), SHA256()), seconds)


def _hash(seconds: float) -> Cost:
    default = {name: field.default for name, field in Settings.model_fields.items()}
    hasher = Argon2Hasher(
        time_cost=default["password_iterations"],
        memory_cost=default["password_memory_kib"],
        parallelism=default["password_parallelism"],
    )
    threads = default["password_threads"]
    with ThreadPoolExecutor(threads) as pool:

        def work() -> None:
            list(pool.map(hasher.hash, ["wonderland"] * threads))

        cost = _repeated(work, seconds)
    return Cost(cost.cpu / threads, cost.p50)


async def _commit(url: str, postgres: int, connections: int, seconds: float) -> Cost:
    meter = cpu(postgres=postgres)
    milliseconds: list[float] = []
    async with asyncpg.create_pool(url, min_size=connections, max_size=connections) as pool:
        await pool.execute(_TABLE)

        async def work(row: int, until: float) -> None:
            async with pool.acquire() as connection:
                await connection.execute(_ROW, row)
                commit = await connection.prepare(_COMMIT)
                while (began := time.perf_counter()) < until:
                    await commit.fetchval(row)
                    milliseconds.append((time.perf_counter() - began) * 1000)

        async def all_of_them(until: float) -> None:
            await asyncio.gather(*(work(row, until) for row in range(connections)))

        await all_of_them(time.perf_counter() + 0.1)
        milliseconds.clear()
        before = meter()["postgres"]
        await all_of_them(time.perf_counter() + seconds)
        used = max(TICK, meter()["postgres"] - before)
    milliseconds.sort()
    return Cost(used / len(milliseconds), milliseconds[len(milliseconds) // 2])


def main() -> None:
    """Measure the floor of the argument, in this process."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    match task.pop("floor"):
        case "signature":
            cost = _sign(**task)
        case "password":
            cost = _hash(**task)
        case _:
            cost = asyncio.run(_commit(**task))
    sys.stdout.write(json.dumps(asdict(cost)))


if __name__ == "__main__":
    main()
