"""`make demo`: the issuer and orders side by side, without Docker, and a token from its first call to its end.

Starts a PostgreSQL and a Redis of its own, `sealwright serve` and orders as real processes on free ports, in a new
folder, and ends and removes everything. Exits with 0 if each step went as it says.
"""

import asyncio
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import quantiles
from typing import Any, NoReturn

import asyncpg
import httpx2

from sealwright import key_id
from service import embedded
from service.cli import demo
from service.embedded import ports

ORDERS = Path(__file__).parent / "orders"
PROGRAMS = Path(sys.executable).parent

PATIENCE = 60.0
"""Seconds that anything may take on a busy machine."""
FEED_AGE = 3.0
"""Seconds without news of revocations after which orders trusts no token; 30 unless it is told otherwise."""
CALLS = 500

TEA = {"item": "tea", "quantity": 2}


class Failed(Exception):
    """A step did not go as it should."""


@dataclass(frozen=True)
class World:
    """Where everything is."""

    folder: Path
    issuer: str
    orders: str
    environment: dict[str, str]

    def sealwright(self, *words: str) -> None:
        """Run a command of the issuer's operator."""
        done = subprocess.run(
            [PROGRAMS / "sealwright", *words],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            raise Failed(f"sealwright {' '.join(words)}: {done.stderr}")

    @contextmanager
    def process(self, name: str, url: str, cwd: Path, *command: str | Path) -> Iterator[None]:
        """Run a server until the end of the block; it is ready when the block begins."""
        log = self.folder / f"{name}.log"
        with log.open("ab") as out:
            running = subprocess.Popen(
                [*command, "--port", url.rpartition(":")[2]],
                env=self.environment,
                cwd=cwd,
                stdout=out,
                stderr=out,
            )
        try:
            within(PATIENCE, lambda: is_ready(running, url, log), f"{name} is not ready")
            yield
        finally:
            running.terminate()
            try:
                running.wait(PATIENCE)
            finally:
                running.kill()

    def issuer_running(self) -> AbstractContextManager[None]:
        """Run the issuer."""
        return self.process("issuer", self.issuer, self.folder, PROGRAMS / "sealwright", "serve")

    def orders_running(self) -> AbstractContextManager[None]:
        """Run orders."""
        factory = ("-m", "uvicorn", "--factory", "orders.app:from_environment")
        return self.process("orders", self.orders, ORDERS, sys.executable, *factory)


def is_ready(process: subprocess.Popen[bytes], url: str, log: Path) -> bool:
    if process.poll() is not None:
        raise Failed(log.read_text())
    try:
        return httpx2.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx2.TransportError:
        return False


def within(seconds: float, condition: Callable[[], bool], otherwise: str) -> float:
    """Wait until it holds; return how long that took, in seconds."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > seconds:
            raise Failed(f"{otherwise} after {seconds:.0f} s")
        time.sleep(0.005)
    return time.monotonic() - began


def prepared(folder: Path, servers: embedded.Servers) -> World:
    """Say where everything will be, and make orders a database of its own."""

    async def create() -> None:
        db = await asyncpg.connect(servers.database_url)
        await db.execute("CREATE DATABASE orders")
        await db.close()

    asyncio.run(create())
    issuer = f"http://localhost:{ports.choose()}"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SEALWRIGHT_", "ORDERS_"))}  # noqa: TID251  # a child's
    return World(
        folder,
        issuer,
        f"http://localhost:{ports.choose()}",
        kept
        | {
            "SEALWRIGHT_ENVIRONMENT": "development",
            "SEALWRIGHT_ISSUER": issuer,
            "SEALWRIGHT_DATABASE_URL": servers.database_url,
            "SEALWRIGHT_REDIS_URL": servers.redis_url,
            "SEALWRIGHT_KEYS_DIR": str(folder / "keys"),
            # A new key is published for an hour before it signs; nobody would wait for that here.
            "SEALWRIGHT_KEY_PUBLICATION": "2",
            "SEALWRIGHT_JWKS_MAX_AGE": "2",
            "SEALWRIGHT_KEY_WATCH_INTERVAL": "0.2",
            "ORDERS_DATABASE_URL": f"{servers.database_url.rpartition('/')[0]}/orders",
            "ORDERS_ISSUER": issuer,
            "ORDERS_AUDIENCE": demo.RESOURCE,
            "ORDERS_CLIENT_ID": demo.SERVICE.client_id,
            "ORDERS_CLIENT_SECRET": demo.SERVICE_SECRET,
            "ORDERS_MAX_FEED_AGE": str(FEED_AGE),
        },
    )


def say(what: str, result: str = "", seconds: float | None = None) -> None:
    took = "" if seconds is None else f"{seconds * 1000:,.0f} ms" if seconds < 10 else f"{seconds:.0f} s"
    print(f"  {what:<58} {result:<16} {took:>8}".rstrip(), flush=True)


class Walk:
    """Sends requests as Alice does, and tells what is answered."""

    def __init__(self, world: World, http: httpx2.Client) -> None:
        self._world = world
        self._http = http
        self._access = self._refresh = ""

    def call(self, what: str, method: str, url: str, expected: int, **request: Any) -> httpx2.Response:
        began = time.monotonic()
        answer = self._http.request(method, url, **request)
        took = time.monotonic() - began
        if answer.status_code != expected:
            raise Failed(f"{what}: {expected} was to come, and {answer.status_code} came: {answer.text}")
        say(what, f"{expected} {answer.reason_phrase}", took)
        return answer

    def ask(self, what: str, path: str, expected: int, **form: str) -> Any:
        """Ask the issuer."""
        form["client_id"] = demo.APP.client_id
        answer = self.call(what, "POST", f"{self._world.issuer}{path}", expected, data=form)
        return answer.json() if answer.content else {}

    def use(
        self, what: str, expected: int, method: str = "GET", path: str = "/orders", json: Any = None
    ) -> Any:
        """Call orders."""
        answer = self.call(
            what, method, f"{self._world.orders}{path}", expected, json=json, headers=self._bearer
        )
        return answer.json()

    def status(self) -> int:
        return self._http.get(f"{self._world.orders}/orders", headers=self._bearer).status_code

    @property
    def _bearer(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self._access}"}

    def sign_in(self) -> None:
        given = {"grant_type": "password", "username": demo.ALICE.username, "password": demo.PASSWORD}
        self.take(self.ask(f"{demo.ALICE.username} signs in", "/token", 200, **given))

    def take(self, tokens: dict[str, str]) -> None:
        self._access, self._refresh = tokens["access_token"], tokens["refresh_token"]

    def work(self) -> None:
        order = self.use("orders tea", 201, "POST", json=TEA)
        self.use(
            "changes the order, which is hers", 200, "PUT", f"/orders/{order['id']}", TEA | {"quantity": 3}
        )
        self.use("may not delete it: that takes an admin", 403, "DELETE", f"/orders/{order['id']}")
        took = []
        for _ in range(CALLS):
            began = time.monotonic()
            if self.status() != 200:
                raise Failed("a good token was refused")
            took.append(time.monotonic() - began)
        cuts = quantiles(took, n=100)
        say(f"{CALLS} more calls, verified by orders on its own", "p50", cuts[49])
        say("", "p99", cuts[98])

    def refresh(self) -> None:
        before = self._refresh
        self.take(self.ask("both tokens are new", "/refresh", 200, refresh_token=before))
        again = self.ask(
            "the answer was lost? the same token, once more", "/refresh", 200, refresh_token=before
        )
        if again["refresh_token"] != self._refresh:
            raise Failed("a refresh that was sent again forked the session")
        say("... gets the same refresh token: the session goes on")
        self.use("the new access token", 200)

    def rotate_keys(self) -> None:
        before = self._kid
        self._world.sealwright("keys", "rotate")
        say("a new key is published; two seconds later it signs")

        def changed() -> bool:
            answer = self._http.post(f"{self._world.issuer}/refresh", data={"refresh_token": self._refresh})
            self.take(answer.json())
            return self._kid != before

        say(
            "tokens are signed by the new key", self._kid[:12], within(PATIENCE, changed, "the old key signs")
        )
        self.use("orders takes them, and nobody restarted anything", 200)

    def _follows(self) -> bool:
        """Whether orders decides on its own again, by news that are young enough."""
        doing: str = self._http.get(f"{self._world.orders}/readyz").json()["tokens"]
        return doing == "verify"

    @property
    def _kid(self) -> str:
        return key_id(self._access)

    def outage(self, stop: Callable[[], None], start: Callable[[], None]) -> None:
        stop()
        say("the issuer is stopped")
        self.use("orders goes on", 200)
        took = within(PATIENCE, lambda: self.status() == 503, "orders still trusts old news")
        say("... until its news of revocations is too old", "503", took)
        start()
        say("the issuer is back")
        took = within(PATIENCE, self._follows, "orders does not heal")
        say("orders has healed by itself", "", took)
        self.use("and takes the token again", 200)

    def revoke(self) -> None:
        self.ask("she signs out", "/revoke", 200, token=self._refresh)
        took = within(PATIENCE, lambda: self.status() == 401, "orders still takes a revoked token")
        say("orders refuses her token", "401", took)
        answer = self.ask("there is no way back", "/refresh", 400, refresh_token=self._refresh)
        say("", answer["error"])


def walk(stack: ExitStack) -> None:
    """Go through all of it."""
    began = time.monotonic()
    folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sealwright-demo-")))
    servers = stack.enter_context(embedded.start(folder / "servers", fsync=False))
    world = prepared(folder, servers)
    for words in (["migrate"], ["keys", "generate"], ["demo"]):
        world.sealwright(*words)
    issuer = stack.enter_context(ExitStack())
    issuer.enter_context(world.issuer_running())
    stack.enter_context(world.orders_running())
    print("Two processes, and a PostgreSQL and a Redis of their own")
    say(f"the issuer   {world.issuer}")
    say(f"orders       {world.orders}", "ready", time.monotonic() - began)

    walker = Walk(world, stack.enter_context(httpx2.Client(timeout=PATIENCE)))

    def go_away() -> None:
        issuer.close()

    def come_back() -> None:
        issuer.enter_context(world.issuer_running())

    for title, step in (
        ("A token", walker.sign_in),
        ("Calls", walker.work),
        ("Refresh", walker.refresh),
        ("A new signing key", walker.rotate_keys),
        ("The issuer is away", lambda: walker.outage(go_away, come_back)),
        ("Signed out", walker.revoke),
    ):
        print(f"\n{title}")
        step()


def stopped(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def main() -> int:
    """Return the exit code."""
    signal.signal(signal.SIGTERM, stopped)
    try:
        with ExitStack() as stack:
            walk(stack)
    except (Failed, embedded.EmbeddedError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nStopped.", file=sys.stderr)
        return 1
    print("\nAll went as it should; everything is stopped, and nothing stays.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
