"""One run: a house is built, harmed while clients use it, and left alone; then its history is checked."""

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from ssl import PROTOCOL_TLS_CLIENT, SSLContext
from typing import Any

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
from tests.support.deployment import SEALWRIGHT, Deployment, Server
from tests.support.folders import temporary

_TICK = 0.05
_LATE = 0.1
"""Seconds; a tick that comes later than this found the machine too busy."""

_LOOK = 0.3
"""Seconds between two looks whether it is enough."""

_LAST = 30.0
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


def never(_: History) -> bool:
    """Say that it is never enough."""
    return False


def run(plan: Plan, *, fsync: bool = False, program: Sequence[str] = SEALWRIGHT) -> Run:
    """Run a plan; `program` is what runs the service in place of `sealwright serve`."""
    with (
        temporary("faults") as folder,
        built(folder, fsync=fsync) as house,
    ):
        return run_in(house, plan, program=program)


def run_in(
    house: House,
    plan: Plan,
    *,
    program: Sequence[str] = SEALWRIGHT,
    enough: Callable[[History], bool] = never,
) -> Run:
    """Run a plan in a house that stands, to its end or until the history is `enough`."""
    users = house.users(plan.users)
    before = os.getloadavg()[0]
    history, log = asyncio.run(_play(house, plan, users, program, enough))
    seen = asyncio.run(found.look(house.deployment.database_url))
    return Run(plan, history, seen, check(history, seen), (before, os.getloadavg()[0]), log)


async def _play(
    house: House,
    plan: Plan,
    users: Sequence[Person],
    program: Sequence[str],
    enough: Callable[[History], bool],
) -> tuple[History, str]:
    history = History()
    async with AsyncExitStack() as stack:
        server, clients, havoc = await _set_up(stack, house, plan, users, program, history)
        await asyncio.to_thread(house.keep_redis)
        history.start()
        ticking = asyncio.create_task(_tick(history))
        await _all(
            plan.seconds + _LAST,
            [
                *(_task(deed, _at(history, at, partial(havoc.do, deed))) for at, deed in plan.deeds),
                *(_task(client, client.run()) for client in clients),
                _task("no more harm", _at(history, plan.harmless_from, havoc.relent)),
                _task("the end", _until(history, plan.seconds, enough)),
            ],
        )
        ticking.cancel()
    return history, server.log.read_text()


async def _set_up(
    stack: AsyncExitStack,
    house: House,
    plan: Plan,
    users: Sequence[Person],
    program: Sequence[str],
    history: History,
) -> tuple[Server, list[Client], Havoc]:
    relays: dict[Whose, Relay] = {}

    async def relay(whose: Whose, to: str) -> str:
        relays[whose] = await stack.enter_async_context(relayed(to, struck(history, whose)))
        return relays[whose].url

    deployment = house.deployment.having(
        database_url=await relay("postgres", house.deployment.database_url),
        redis_url=await relay("redis", house.deployment.redis_url),
    )
    server = await stack.enter_async_context(_serving(deployment, program))
    library = await stack.enter_async_context(
        verifying(deployment.issuer, await relay("library", server.url), history)
    )
    urls = [await relay("quick", server.url), await relay("patient", server.url)]
    clients = []
    for number in range(plan.clients):
        is_patient = plan.is_patient(number)
        caller = Caller(f"client {number}", await stack.enter_async_context(_http(urls[is_patient])), history)
        user, steps = users[plan.user(number)], plan.steps(number)
        clients.append(
            Client(user, caller, library, history, steps, until=plan.seconds, is_patient=is_patient)
        )
    return server, clients, Havoc(house, server, library, relays, users, history)


@asynccontextmanager
async def _serving(deployment: Deployment, program: Sequence[str]) -> AsyncIterator[Server]:
    """Serve; in a thread, because the way to the servers is relayed here."""
    serving = deployment.serving(workers=2, program=program)
    server = await asyncio.to_thread(serving.__enter__)
    try:
        yield server
    finally:
        await asyncio.to_thread(serving.__exit__, None, None, None)


def _task(what: object, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    return asyncio.create_task(work, name=str(what))


async def _all(within: float, tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait until all are done, or it is enough, or one has failed."""
    done, pending = await asyncio.wait(tasks, timeout=within, return_when=asyncio.FIRST_EXCEPTION)
    for task in pending:
        task.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    failures = [error for task in done if (error := task.exception()) is not None]
    if not failures and pending:
        raise TimeoutError(f"not over within {within:.0f} s: {[task.get_name() for task in pending]}")
    for failure in failures:
        if not isinstance(failure, _Enough):
            raise failure


class _Enough(Exception):
    """Ends a run before its time."""


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
