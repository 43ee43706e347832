"""One run: a house is built, harmed while clients use it, and left alone; then its history is checked."""

import asyncio
import os
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import get_args

import httpx2

from tests.faults import found
from tests.faults.caller import Caller
from tests.faults.checker import Violation, check
from tests.faults.client import Client
from tests.faults.found import Found
from tests.faults.havoc import Havoc, struck
from tests.faults.history import History, Stall
from tests.faults.house import House, built
from tests.faults.library import verifying
from tests.faults.plan import Plan, Whose
from tests.faults.relay import Relay, relayed
from tests.support.actors import Person
from tests.support.deployment import SEALWRIGHT, Server

_TICK = 0.05
_LATE = 0.1
"""Seconds; a tick that comes later than this found the machine too busy."""

_LOOK = 0.3
"""Seconds between two looks whether it is enough."""

_LAST = 15.0
"""Seconds for what is under way at the end."""


@dataclass(frozen=True)
class Run:
    """What there is to tell of one."""

    plan: Plan
    history: History
    found: Found
    violations: Sequence[Violation]
    load: tuple[float, float]
    """The machine's load average before and after."""
    log: str
    """The service's."""


def run(plan: Plan, *, fsync: bool = False, program: Sequence[str] = SEALWRIGHT) -> Run:
    """Run a plan; `program` is what runs the service in place of `sealwright serve`."""
    with (
        tempfile.TemporaryDirectory(prefix="sealwright-faults-") as folder,
        built(Path(folder), fsync=fsync) as house,
    ):
        return run_in(house, plan, program=program)


def run_in(
    house: House,
    plan: Plan,
    *,
    program: Sequence[str] = SEALWRIGHT,
    enough: Callable[[History], bool] = lambda _: False,
) -> Run:
    """Run a plan in a house that stands, to its end or until the history is `enough`."""
    users = house.users(plan.users)
    before = os.getloadavg()[0]
    with house.deployment.serving(workers=2, program=program) as server:
        history = asyncio.run(_play(house, server, plan, users, enough))
        log = server.log.read_text()
    seen = asyncio.run(found.look(house.deployment.database_url))
    return Run(plan, history, seen, check(history, seen), (before, os.getloadavg()[0]), log)


class _Enough(Exception):
    """Ends a run before its time."""


async def _play(
    house: House, server: Server, plan: Plan, users: Sequence[Person], enough: Callable[[History], bool]
) -> History:
    history = History()
    async with AsyncExitStack() as stack:
        clients, havoc = await _set_up(stack, house, server, plan, users, history)
        await asyncio.to_thread(house.keep_redis)
        history.start()
        ticking = asyncio.create_task(_tick(history))
        try:
            async with asyncio.timeout(plan.seconds + _LAST), asyncio.TaskGroup() as playing:
                for at, deed in plan.deeds:
                    playing.create_task(_at(history, at, partial(havoc.do, deed)))
                playing.create_task(_at(history, plan.harmless_from, havoc.relent))
                for client in clients:
                    playing.create_task(client.run())
                playing.create_task(_until(history, plan.seconds, enough))
        except* _Enough:
            pass
        ticking.cancel()
    return history


async def _set_up(
    stack: AsyncExitStack,
    house: House,
    server: Server,
    plan: Plan,
    users: Sequence[Person],
    history: History,
) -> tuple[list[Client], Havoc]:
    relays: dict[Whose, Relay] = {
        whose: await stack.enter_async_context(relayed(server.url, struck(history, whose)))
        for whose in get_args(Whose)
    }
    library = await stack.enter_async_context(
        verifying(house.deployment.issuer, relays["library"].url, history)
    )
    clients = []
    for number in range(plan.clients):
        whose: Whose = "patient" if plan.is_patient(number) else "quick"
        http = await stack.enter_async_context(_http(relays[whose].url))
        clients.append(
            Client(
                users[plan.user(number)],
                Caller(f"client {number}", http, history),
                library,
                history,
                plan.steps(number),
                until=plan.seconds,
                is_patient=whose == "patient",
            )
        )
    return clients, Havoc(house, server, library, relays, users, history)


async def _until(history: History, end: float, enough: Callable[[History], bool]) -> None:
    while history.now() < end:
        if enough(history):
            raise _Enough
        await asyncio.sleep(_LOOK)


async def _at(history: History, at: float, do: Callable[[], Awaitable[None]]) -> None:
    await asyncio.sleep(max(0.0, at - history.now()))
    await do()


async def _tick(history: History) -> None:
    while True:
        due = history.now() + _TICK
        await asyncio.sleep(_TICK)
        if (now := history.now()) - due > _LATE:
            history.stalls.append(Stall(due, now))


@asynccontextmanager
async def _http(url: str) -> AsyncIterator[httpx2.AsyncClient]:
    no_certificates = SSLContext(PROTOCOL_TLS_CLIENT)  # there is no TLS, and loading them takes its time
    async with httpx2.AsyncClient(
        base_url=url, timeout=None, trust_env=False, verify=no_certificates
    ) as http:
        yield http
