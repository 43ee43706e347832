"""Doing the harm, and writing into the history when it began and when the part was there again."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import redis.asyncio as redis

from service.account import administration
from service.errors import Unavailable
from service.revocation import Revocations
from tests.faults.history import Call, Harm, History, Operation, Outcome, Part
from tests.faults.house import House
from tests.faults.library import Library
from tests.faults.plan import (
    Deed,
    Disable,
    Disturb,
    FillPool,
    FlushRedis,
    KillPostgres,
    KillRedis,
    KillWorkers,
    RotateKeys,
    Stop,
    Storm,
    Whose,
)
from tests.faults.relay import Fault, Relay
from tests.support.actors import Person
from tests.support.deployment import Server
from tests.support.processes import children, eventually, is_running

_AGAIN = 0.3
"""Seconds before an operator tries again."""

_PATIENCE = 20.0
"""Seconds for a process that was killed to be gone."""

_PARTS: dict[str, Part] = {
    "a worker": "service",
    "a worker alone": "service",
    "the service": "service",
    "Postgres": "postgres",
    "a backend": "postgres",
    "Redis": "redis",
    "the library": "library",
}

_NAMES = {"postgres": "Postgres", "redis": "Redis"}

_STRUCK: dict[Whose, Part] = {"postgres": "postgres", "redis": "redis", "library": "feed"}
"""What is harmed where a connection suffers that is no client's."""


class Havoc:
    """Does what the plan says. Two deeds to one part come one after the other."""

    def __init__(
        self,
        house: House,
        server: Server,
        library: Library,
        relays: Mapping[Whose, Relay],
        users: Sequence[Person],
        history: History,
    ) -> None:
        self._house = house
        self._server = server
        self._library = library
        self._relays = relays
        self._users = users
        self._history = history
        self._turns: dict[Part, asyncio.Lock] = {}

    async def do(self, deed: Deed) -> None:
        """Do one of them, to its end."""
        match deed:
            case Disturb(whose=whose, fault=fault):
                self._relays[whose].strike(fault)
            case Storm():
                with self._history.harming(f"connections to {_NAMES[deed.whose]} break", deed.whose):
                    await self._storm(self._relays[deed.whose], deed)
            case RotateKeys():
                await self._rotate_keys()
            case Disable(user=user, seconds=seconds):
                await self._disable(self._users[user], seconds)
            case KillWorkers(which=which):
                await self._kill_workers(which)
            case Stop(what=what):
                async with self._turn(_PARTS[what]):
                    await self._stop(deed)
            case FillPool(seconds=seconds):
                async with self._harming("the pool is full", "pool"):
                    await self._fill(seconds)
            case _:
                await self._harm_server(deed)

    async def _harm_server(self, deed: KillPostgres | KillRedis | FlushRedis) -> None:
        servers = self._house.servers
        match deed:
            case KillPostgres(down=down):
                async with self._harming("Postgres is killed", "postgres"):
                    await self._restart(servers.postgres, down)
            case KillRedis(down=down, older=older):
                what = "Redis comes back from an older dump" if older else "Redis is killed"
                async with self._harming(what, "redis"):
                    await self._restart(servers.redis, down, self._house.older_redis if older else None)
            case FlushRedis():
                async with self._harming("FLUSHALL", "redis"):
                    await self._flush()

    async def relent(self) -> None:
        """Do nothing more to connections."""
        for relay in self._relays.values():
            relay.relent()

    def _turn(self, part: Part) -> asyncio.Lock:
        return self._turns.setdefault(part, asyncio.Lock())

    @asynccontextmanager
    async def _harming(self, what: str, part: Part) -> AsyncIterator[None]:
        async with self._turn(part):
            with self._history.harming(what, part):
                yield

    async def _rotate_keys(self) -> None:
        """Rotate, if Postgres and the ring allow it now."""
        done = await asyncio.to_thread(self._house.deployment.cli, "keys", "rotate", check=False)
        if done.returncode == 0:
            now = self._history.now()
            self._history.harms.append(Harm("the keys rotate", "keys", now, now))

    async def _storm(self, relay: Relay, storm: Storm) -> None:
        began = self._history.now()
        for at, fault in storm.faults:
            await asyncio.sleep(max(0.0, began + at - self._history.now()))
            relay.strike(fault)
        await asyncio.sleep(max(0.0, began + storm.seconds - self._history.now()))
        relay.relent()

    async def _kill_workers(self, which: Sequence[int]) -> None:
        async with self._turn("service"):
            pids = await asyncio.to_thread(self._workers)
            doomed = {pids[number % len(pids)] for number in which} if pids else set()
            if doomed:
                with self._history.harming(f"{len(doomed)} of 2 workers are killed", "worker"):
                    for pid in doomed:
                        _signal(pid, signal.SIGKILL)

    async def _restart(self, part: Any, down: float, meanwhile: Callable[[], None] | None = None) -> None:
        try:
            await asyncio.to_thread(part.kill)
            await asyncio.sleep(down)
            if meanwhile is not None:
                await asyncio.to_thread(meanwhile)
        finally:
            await asyncio.to_thread(part.start)

    async def _flush(self) -> None:
        async with redis.Redis.from_url(self._house.servers.redis_url) as client:
            with suppress(redis.RedisError, OSError):  # it is away
                await client.flushall()

    async def _stop(self, stop: Stop) -> None:
        family = await asyncio.to_thread(self._family, stop.what, stop.which)
        if not family:
            return
        with self._history.harming(f"{stop.what} is stopped", _PARTS[stop.what]):
            await self._held(family, stop)

    async def _held(self, family: Sequence[int], stop: Stop) -> None:
        for pid in family:
            _signal(pid, signal.SIGSTOP)
        try:
            if stop.what == "a worker alone":  # its supervisor sees to it
                await self._gone(family)
            else:
                await asyncio.sleep(stop.seconds)
        finally:
            for pid in family:
                _signal(pid, signal.SIGCONT)

    def _workers(self) -> list[int]:
        """Return the workers, the older one first; fewer while one is being replaced."""
        return sorted(self._server.worker_pids())

    def _family(self, what: str, which: int) -> list[int]:
        """Return the processes to stop, one that has children before them."""
        supervisor, postgres = self._server.process.pid, self._house.servers.postgres.pid
        match what:
            case "a worker" | "a worker alone":
                pids = self._workers()
                one = [pids[which % len(pids)]] if pids else []
                # A supervisor that goes on takes a worker that does not answer for dead.
                return one if what == "a worker alone" else [supervisor, *one]
            case "the service":
                return [supervisor, *self._workers()]
            case "Postgres":
                _signal(postgres, signal.SIGSTOP)  # first, so that it has no more children
                return [postgres, *children(postgres)]
            case "a backend":
                backends = sorted(pid for pid in children(postgres) if _is_backend(pid))
                return [backends[which % len(backends)]] if backends else []
            case "Redis":
                return [self._house.servers.redis.pid]
            case _:
                return [self._library.pid]

    async def _gone(self, family: Sequence[int]) -> None:
        await asyncio.to_thread(
            eventually, lambda: not any(is_running(pid) for pid in family), within=_PATIENCE
        )

    async def _fill(self, seconds: float) -> None:
        with suppress(OSError, asyncpg.PostgresError, asyncpg.InterfaceError, TimeoutError):
            async with asyncio.timeout(seconds):
                connection = await asyncpg.connect(self._house.deployment.database_url)
                try:
                    async with connection.transaction():
                        await connection.execute("LOCK TABLE sessions IN EXCLUSIVE MODE")
                        await asyncio.sleep(seconds)
                finally:
                    connection.terminate()

    # What an operator does

    async def _disable(self, user: Person, seconds: float) -> None:
        async with self._turn("connection"):
            await self._operate(user, "disable", administration.disable_user)
            await asyncio.sleep(seconds)
            await self._operate(user, "enable", administration.enable_user)

    async def _operate(self, user: Person, what: Operation, change: Callable[..., Any]) -> None:
        """Run a command until it is done."""
        lifetime = self._house.deployment.settings.revocation_lifetime
        done = False
        while not done:
            done = await self._once(user, what, partial(change, user_id=user.id, lifetime=lifetime))
            await asyncio.sleep(0 if done else _AGAIN)

    async def _once(self, user: Person, what: Operation, change: Callable[[Revocations], Any]) -> bool:
        began, said = self._history.now(), "given up"
        outcome: Outcome = "silent"
        try:
            async with self._house.deployment.operator() as (_, revocations):
                await change(revocations)
                outcome, said = "done", ""
        except Unavailable as error:
            outcome, said = "unavailable", str(error.detail)
        finally:
            ended = self._history.now()
            call = Call("an operator", what, began, ended, outcome, sub=str(user.id), said=said)
            self._history.calls.append(call)
        return outcome == "done"


def struck(history: History, whose: Whose) -> Callable[[Fault, float], None]:
    """Return what writes a fault of a relay into the history."""
    part = _STRUCK.get(whose, "connection")

    def record(fault: Fault, seconds: float) -> None:
        now = history.now()
        history.harms.append(Harm(f"{whose}: {fault}", part, now, now + seconds, single=True))

    return record


def _signal(pid: int, number: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, number)


def _is_backend(pid: int) -> bool:
    try:
        return b"127.0.0.1(" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
