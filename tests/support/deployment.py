"""A deployment of its own for tests: a migrated database, a namespace in Redis, keys, and real workers."""

import asyncio
import base64
import os
import secrets
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import asyncpg
import httpx2
import sqlalchemy as sa

from service import migrating
from service.cli.connect import opened
from service.cli.revoking import revoking
from service.cli.seed import seed
from service.database import Database
from service.embedded import ports
from service.revocation import Revocations
from service.settings import Settings, load
from tests.support.canary import CANARY, rows
from tests.support.processes import children

SEALWRIGHT = (sys.executable, "-c", "from service.cli import main; main()")
READY_WITHIN = 120.0

FAST_HASHES = {
    "SEALWRIGHT_PASSWORD_MEMORY_KIB": "256",
    "SEALWRIGHT_PASSWORD_ITERATIONS": "1",
    "SEALWRIGHT_PASSWORD_PARALLELISM": "1",
}

GENEROUS = {
    f"SEALWRIGHT_{name}": "1000000"
    for name in (
        "GUESSES_PER_ACCOUNT",
        "GUESSES_PER_ADDRESS",
        "GUESSES_PER_CLIENT",
        "REGISTRATIONS_PER_ADDRESS",
    )
}
"""All tests come from one address. Limits that nobody reaches: counted as any others."""

PRESSED = {
    "signing_algorithm": "ES256",
    "key_watch_interval": "0.05",
    "key_publication": "0",
    "jwks_max_age": "0",
    "key_rotation": "0",
}
"""A life of months in seconds: every rule as it is, every time shorter."""

METRICS_TOKEN = "a-token-of-the-tests"

KEY_ENCRYPTION_KEY = base64.b64encode(bytes(range(32))).decode()


@dataclass(frozen=True)
class Server:
    """A running `sealwright serve`."""

    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def worker_pids(self) -> list[int]:
        """The worker processes; none if it serves in its own process."""
        return children(self.process.pid)


@dataclass(frozen=True)
class Deployment:
    """What all replicas of one issuer share."""

    database_url: str
    redis_url: str
    directory: Path
    issuer: str
    namespace: str = field(default_factory=lambda: f"test-{secrets.token_hex(6)}")
    extra: Mapping[str, str] = field(default_factory=dict)

    @property
    def keys_dir(self) -> Path:
        return self.directory / "keys"

    @property
    def env(self) -> dict[str, str]:
        """The variables that describe it, on top of this process's own."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SEALWRIGHT_")}  # noqa: TID251  # a child's
        return kept | {
            "SEALWRIGHT_ISSUER": self.issuer,
            "SEALWRIGHT_ENVIRONMENT": "development",
            "SEALWRIGHT_DATABASE_URL": self.database_url,
            "SEALWRIGHT_REDIS_URL": self.redis_url,
            "SEALWRIGHT_REDIS_NAMESPACE": self.namespace,
            "SEALWRIGHT_KEYS_DIR": str(self.keys_dir),
            "SEALWRIGHT_LOG_LEVEL": "debug",
            "SEALWRIGHT_ACCESS_LOG": "true",
            **FAST_HASHES,
            **GENEROUS,
            **self.extra,
        }

    def having(self, **extra: str) -> "Deployment":
        """The same deployment with other settings, named without their prefix."""
        return replace(self, extra={**self.extra, **{f"SEALWRIGHT_{k.upper()}": v for k, v in extra.items()}})

    @property
    def settings(self) -> Settings:
        """The settings that `env` makes."""
        own = {
            k.removeprefix("SEALWRIGHT_").lower(): v
            for k, v in self.env.items()
            if k.startswith("SEALWRIGHT_")
        }
        return load(_env_file=None, **own)

    def cli(self, *arguments: str, stdin: str = "", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run the real command."""
        done = subprocess.run(
            [*SEALWRIGHT, *arguments],
            env=self.env,
            cwd=self.directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert not check or done.returncode == 0, done.stderr
        CANARY.hear_command(stdin, done.stdout, done.stderr)
        return done

    def prepare(self) -> None:
        """Migrate, make a key, seed the demo."""
        self.keys_dir.mkdir(parents=True, exist_ok=True)
        migrating.upgrade_now(self.database_url)
        self.cli("keys", "generate", "--if-none")
        asyncio.run(seed(self.settings))

    @contextmanager
    def serving(
        self, workers: int = 2, port: int | None = None, program: Sequence[str] = SEALWRIGHT
    ) -> Iterator[Server]:
        """Run `sealwright serve` until the end of the block; it must end by itself when asked to."""
        port = port or ports.choose()
        env = {"SEALWRIGHT_METRICS_PORT": str(ports.choose()), **self.env}
        log = self.directory / f"serve-{port}.log"
        with log.open("wb") as out:
            process = subprocess.Popen(
                [*program, "serve", "--port", str(port), "--workers", str(workers)],
                env=env,
                cwd=self.directory,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        server = Server(f"http://127.0.0.1:{port}", process, log)
        try:
            wait_until_ready(server)
            self._tell_keys()
            yield server
        finally:
            metrics = self._metrics(env["SEALWRIGHT_METRICS_PORT"])
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(5)
                raise
            CANARY.look(("the metrics", metrics), (f"the log {log.name}", log.read_text(errors="replace")))

    def _metrics(self, port: str) -> str:
        token = self.settings.metrics_token
        headers = {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
        request = urllib.request.Request(f"http://127.0.0.1:{port}/metrics", headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=5) as answer:
                text: str = answer.read().decode()
                return text
        except OSError:
            return ""  # the test has ended it

    def _tell_keys(self) -> None:
        for key in self.keys_dir.rglob("*.pem"):
            body = key.read_text().splitlines()[1:-1]
            CANARY.learn_end(body[-2] if len(body) > 1 else body[0], "a private key")

    @asynccontextmanager
    async def operator(self) -> AsyncIterator[tuple[Database, Revocations]]:
        """A database and revocations as a command or another replica has them."""
        settings = self.settings
        async with opened(settings) as database, revoking(settings, database) as revocations:
            yield database, revocations


def wait_until_ready(server: Server) -> None:
    deadline = time.monotonic() + READY_WITHIN
    while time.monotonic() < deadline:
        assert server.process.poll() is None, server.log.read_text()
        try:
            if httpx2.get(f"{server.url}/readyz", timeout=2).status_code == 200:
                return
        except httpx2.TransportError:
            pass
        time.sleep(0.05)
    raise AssertionError(f"not ready within {READY_WITHIN} s:\n{server.log.read_text()}")


def new_database(server_url: str) -> str:
    """Create an empty database beside the one of this URL; return its URL."""
    name = f"sealwright_test_{secrets.token_hex(6)}"
    on_server(server_url, f"CREATE DATABASE {name}")
    return sa.make_url(server_url).set(database=name).render_as_string(hide_password=False)


def drop_database(server_url: str, url: str) -> None:
    """Drop it, once it was searched for secrets."""
    try:
        CANARY.look(("a table", asyncio.run(rows(url))))
    except asyncpg.InvalidCatalogNameError:
        return  # the test has dropped it
    finally:
        on_server(server_url, f"DROP DATABASE IF EXISTS {sa.make_url(url).database} WITH (FORCE)")


def on_server(url: str, statement: str) -> None:
    async def main() -> None:
        connection = await asyncpg.connect(url)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    asyncio.run(main())
