"""Trying: what stands before a password is looked at, and what becomes of the counts afterwards."""

import asyncio
import contextlib
import ipaddress
import logging
import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TypeVar
from uuid import UUID

from redis import RedisError

from service.audit import Failure, Failures
from service.background import Background
from service.database import Database
from service.errors import TooMany
from service.guessing.gate import Gate
from service.guessing.local import LocalCounts
from service.guessing.names import Names
from service.guessing.rules import Counts, Kind, Limit, Rule, Rules, Standing, Wait
from service.guessing.shared import SharedCounts
from service.metrics import Metrics
from service.settings import PREFIX, Settings

log = logging.getLogger("sealwright")

T = TypeVar("T")

PAUSE = 1.0
"""Seconds between tries to reach a Redis that is away."""

WORDS: dict[Kind, str] = {
    "account": "wrong passwords for an account from an address",
    "address": "wrong passwords from an address",
    "password": "wrong present passwords in a session",
    "client": "failed authentications as a client from an address",
    "client_address": "failed client authentications from an address",
    "registration": "registrations from an address",
}
"""What was too much, for the audit."""

_DOWN = (RedisError, OSError, TimeoutError)


class Guess:
    """A try that has begun. Say how it turned out; if nothing is said, it was none, and is not counted."""

    def __init__(self, guesses: "Guesses", standings: tuple[Standing, ...], address: str | None) -> None:
        self._guesses = guesses
        self._standings = standings
        self._address = address
        self._open = bool(standings)

    async def failed(self, *, user_id: UUID | None = None, client_id: str | None = None) -> None:
        """Count it: it was wrong. The ids are for the audit, in case it is the one that brings a limit."""
        self._open = False
        uncounted = [standing.limit for standing in self._standings if not standing.counted]
        now = await self._guesses.ask(lambda counts: counts.count(uncounted)) if uncounted else []
        numbers = [(s.limit.rule, s.failures) for s in self._standings if s.counted]
        numbers += zip((limit.rule for limit in uncounted), now, strict=True)
        for rule, failures in numbers:
            if failures == rule.free:
                self._guesses.reached(rule.kind, user_id, client_id, self._address)

    async def succeeded(self) -> None:
        """Forget, for it was right, what failed before it. No call where nothing had."""
        self._open = False
        forget = [s.limit for s in self._standings if s.limit.rule.forgiving and s.failures]
        await self._settle(forget)

    async def close(self) -> None:
        """Take it back if nothing was said."""
        if self._open:
            await self._settle([])

    async def _settle(self, forget: list[Limit]) -> None:
        back = [s.limit for s in self._standings if s.counted and s.limit not in forget]
        if back or forget:
            await self._guesses.ask(lambda counts: counts.settle(back, forget))


class Guesses:
    """One worker's view of who has to wait."""

    def __init__(self, settings: Settings, database: Database, metrics: Metrics) -> None:
        self._rules = Rules(settings)
        self._metrics = metrics
        self._reached = Failures(database, "limit.reached")
        self._names = Names(settings)
        self._shared = SharedCounts(settings)
        self._local = LocalCounts()
        self._gate = Gate(settings)
        self._broken = asyncio.Event()
        self._problem: str | None = None
        self._background = Background()

    async def start(self) -> None:
        """Look after the connection to Redis, and tell of limits, until `stop`."""
        await self._reached.start()
        self._background.start(self._mend(), "guesses")

    async def stop(self) -> None:
        """Tell what is left; close the connections to Redis."""
        await self._reached.stop()
        await self._background.stop()
        with contextlib.suppress(*_DOWN):
            await self._shared.close()

    @property
    def problem(self) -> str | None:
        """Why this worker counts by itself at the moment; None if Redis counts."""
        return self._problem

    @asynccontextmanager
    async def sign_in(self, username: str, address: str | None) -> AsyncIterator[Guess]:
        """Stand before a password of this account; `username` is the normalised one, whether it exists or not.

        Raises:
            TooMany: the account from this address, or the address, has to wait.
            Unavailable: too many are at it this moment.
        """
        place, subject = self._names.address(address), self._names.account(username)
        limits = _applied(place, (self._rules.account, subject))
        if address is not None:  # else everybody would be one
            limits += _applied(place, (self._rules.address, ""))
        way = self._gate.passed(place + subject) if self._rules.account else contextlib.nullcontext()
        async with way, self._try(limits, address) as guess:
            yield guess

    def present_password(self, session_id: UUID, address: str | None) -> AbstractAsyncContextManager[Guess]:
        """Stand before the present password, which whoever has stolen an access token must not find out.

        By session, not by address: the thief may have many, and the user may sign in anew. Raises as `sign_in`.
        """
        limits = _applied(self._names.session(session_id), (self._rules.password, ""))
        return self._try(limits, address)

    def client(self, client_id: str, address: str | None) -> AbstractAsyncContextManager[Guess]:
        """Stand before another look at a client that was not proved by the first. Raises as `sign_in`."""
        place = self._names.address(address)
        limits = _applied(place, (self._rules.client, self._names.client(client_id)))
        if address is not None:
            limits += _applied(place, (self._rules.client_address, ""))
        return self._try(limits, address)

    def registration(self, address: str | None) -> AbstractAsyncContextManager[Guess]:
        """Stand before a registration; one that was done counts as `failed`. Raises as `sign_in`."""
        return self._try(_applied(self._names.address(address), (self._rules.registration, "")), address)

    async def ask(self, work: Callable[[Counts], Awaitable[T]]) -> T:
        """Have Redis count, or this process if Redis cannot."""
        if not self._broken.is_set():
            try:
                return await work(self._shared)
            except _DOWN as error:
                self._distrust(error)
        return await work(self._local)

    def reached(self, kind: Kind, user_id: UUID | None, client_id: str | None, address: str | None) -> None:
        """Tell that a limit has been reached: once, not for each request that it keeps out."""
        self._reached.note(Failure(WORDS[kind], user_id, client_id, address))
        if kind == "address" and address is not None and _is_private(address):
            log.warning(
                "too many wrong passwords from %s, a private address: if that is a proxy of yours, name its "
                "network in %sTRUSTED_PROXIES, or all who come through it wait for each other",
                address,
                PREFIX,
            )

    @asynccontextmanager
    async def _try(self, limits: tuple[Limit, ...], address: str | None) -> AsyncIterator[Guess]:
        begun = await self.ask(lambda counts: counts.begin(limits)) if limits else ()
        if isinstance(begun, Wait):
            self._metrics.limited[begun.kind,].add()
            raise TooMany(retry_after=math.ceil(begun.left / 1000))
        guess = Guess(self, begun, address)
        try:
            yield guess
        finally:
            await guess.close()

    def _distrust(self, error: Exception) -> None:
        if self._problem is None:
            log.warning(
                "failures are counted by each worker for itself until Redis can: %s", type(error).__name__
            )
        self._problem = f"failures are counted by each worker for itself ({type(error).__name__})"
        self._broken.set()

    async def _mend(self) -> None:
        while True:
            await self._broken.wait()
            await asyncio.sleep(PAUSE)
            try:
                await self._shared.probe()
            except _DOWN:
                continue
            log.info("failures are counted in Redis again")
            self._problem = None
            self._broken.clear()


def _applied(place: str, *rules: tuple[Rule | None, str]) -> tuple[Limit, ...]:
    return tuple(Limit(rule, place, subject) for rule, subject in rules if rule is not None)


def _is_private(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_private
    except ValueError:
        return False
