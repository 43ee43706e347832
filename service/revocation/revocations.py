"""Revoking, and telling whether a token is revoked: Redis where it can be trusted, else Postgres.

Redis is trusted while its marker has come at least as far as Postgres has said the record goes. A marker
that is missing or behind, an error, or a new connection that leads to another server, or to an older copy of the
same, ends the trust; only a look at Postgres gives it back.
"""

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self
from uuid import UUID

from redis import RedisError, ResponseError
from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection

from sealwright import Claims
from service import redis_connections
from service.background import Background, woken
from service.database import Connection, Database
from service.errors import Unavailable
from service.metrics import Metrics
from service.revocation import record
from service.revocation.announcements import Announcements
from service.revocation.blocklist import Blocklist
from service.revocation.entries import Kill, Kind, Revocation, dead, subjects
from service.revocation.feed import Feed
from service.revocation.record import Head, Numbered
from service.settings import Settings

log = logging.getLogger("sealwright")

_CHECKING = "a new connection to Redis is being checked"

POLICY_INTERVAL = 5.0  # seconds between looks at Redis's eviction policy

_DOWN = (RedisError, OSError, TimeoutError)


class Revoking:
    """A transaction that revokes. What is passed to `revoke` is written at its very end."""

    def __init__(self, db: Connection) -> None:
        self.db = db
        self.entries: list[Revocation] = []

    def revoke(self, *entries: Revocation) -> None:
        """Revoke with the commit of this transaction."""
        self.entries += entries


class Revocations:
    """One worker's hold on the record and the blocklist."""

    def __init__(
        self,
        database: Database,
        redis_url: str,
        *,
        namespace: str,
        timeout: timedelta,  # of Redis, not of a coroutine
        interval: timedelta,
        metrics: Metrics | None = None,
    ) -> None:
        self._metrics = metrics
        self.feed = Feed(database, interval=interval, lost=self._lost)
        self._announcements = Announcements(redis_url, namespace, timeout, self.feed.wake)
        self._database = database
        self._redis = Redis.from_pool(
            redis_connections.pool(
                redis_url,
                most=16,
                timeout=timeout,
                decode_responses=True,
                redis_connect_func=self._connected,
            )
        )
        self._blocklist = Blocklist(self._redis, namespace)
        self._interval = interval.total_seconds()
        self._timeline: UUID | None = None
        self._number = 0
        self._marker: int | None = None
        self._server: tuple[str, str] | None = None
        self._servers = 0
        self._trusted = False
        self._untrusted_because = "Redis has not been looked at yet"
        self._told = ""
        self._evicts: str | None = None
        self._policy_read_at = float("-inf")
        self._wake = asyncio.Event()
        self._background = Background()

    @classmethod
    def of(cls, settings: Settings, database: Database, metrics: Metrics | None = None) -> Self:
        """Take from the settings what it needs of them."""
        return cls(
            database,
            settings.redis_url.get_secret_value(),
            namespace=settings.redis_namespace,
            timeout=settings.redis_timeout,
            interval=settings.watch_interval,
            metrics=metrics,
        )

    async def start(self, *, follow: bool = True) -> None:
        """Look at the record and the blocklist, and keep looking until `stop`; a command looks once."""
        await self._look()
        if follow:
            self._background.start(self._follow(), "revocations")
            self._announcements.start()

    async def stop(self) -> None:
        """Stop looking and close the connections to Redis."""
        await self.feed.stop()
        await self._announcements.stop()
        await self._background.stop()
        with contextlib.suppress(*_DOWN):
            await self._blocklist.close()
            await self._redis.aclose()

    @property
    def problem(self) -> str | None:
        """Why Redis is not in use at the moment; None if it is."""
        return None if self._trusted else self._untrusted_because

    @property
    def number(self) -> int:
        """The number of the last revocation, as far as this worker knows."""
        return self._number

    @property
    def lag(self) -> int | None:
        """How many revocations the blocklist was behind when it was last looked at; None: it has no marker."""
        return None if self._marker is None else max(self._number - self._marker, 0)

    async def count(self) -> int:
        """Count the revocations in force. Raises `Unavailable`."""
        async with self._database.connect() as db:
            return await record.count(db)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Revoking]:
        """Open a transaction that may revoke; once it is committed, put what it revoked on the blocklist.

        When the block is left, the revocations hold on every replica; where Redis could not be
        reached, within a second.
        """
        numbered: list[Numbered] = []
        async with self._database.transaction() as db:
            revoking = Revoking(db)
            yield revoking
            if revoking.entries:
                numbered = await record.append(db, revoking.entries)
        if numbered:
            if self._metrics is not None:
                for entry in revoking.entries:
                    self._metrics.revocations[entry.kind, entry.reason].add()
            await self._publish(numbered)

    async def catch_up(self) -> None:
        """Put on the blocklist whatever the record has that it lacks; where Redis cannot be reached, as `transaction`.

        Raises:
            Unavailable: the record cannot say.
        """
        try:
            await self._heal()
        except _DOWN as error:
            self._distrust(f"Redis cannot be reached ({type(error).__name__})")

    async def has(self, db: Connection, kind: Kind, subject: str) -> bool:
        """Whether the record has a revocation of this in force, as a transaction sees it."""
        return bool(await record.find(db, ((kind, subject),)))

    async def revoked(self, claims: Claims) -> bool:
        """Whether a verified access token has been taken back.

        Raises:
            Unavailable: neither Redis nor Postgres can say.
        """
        return dead(claims, await self._kills(subjects(claims)))

    async def key_revoked(self, kid: str) -> bool:
        """Whether everything that a key signed is dead. Raises as `revoked`."""
        return bool(await self._kills((("kid", kid),)))

    async def _kills(self, named: Sequence[tuple[Kind, str]]) -> list[Kill]:
        kills = await self._ask_redis(named)
        if kills is None:
            async with self._database.connect() as db:
                kills = await record.find(db, named)
        return kills

    async def _ask_redis(self, named: Sequence[tuple[Kind, str]]) -> list[Kill] | None:
        if not self._trusted or self._timeline is None:
            return None
        servers = self._servers
        try:
            marker, kills = await self._blocklist.look(self._timeline, named)
        except _DOWN as error:
            self._distrust(f"Redis cannot be reached ({type(error).__name__})")
            return None
        if marker is None or marker < self._number:
            self._distrust("the blocklist in Redis is not whole")
            return None
        # This very call may have met another server: then Postgres decides.
        return kills if self._servers == servers else None

    async def _publish(self, numbered: Sequence[Numbered]) -> None:
        first, last = numbered[0].number, numbered[-1].number
        self._number = max(self._number, last)
        self.feed.wake()
        try:
            marker = -1  # a worker that has not seen the record yet knows of none
            if self._timeline is not None:
                marker = await self._blocklist.apply(self._timeline, numbered, after=first - 1, upto=last)
            self._marker = marker
            if marker < last:
                # Somebody's number before ours is missing in Redis, or all of it.
                await self._heal()
        except _DOWN as error:
            self._distrust(f"Redis cannot be reached ({type(error).__name__})")
        except Unavailable:
            self._distrust("the blocklist in Redis is not whole")

    def _distrust(self, because: str) -> None:
        if because not in {_CHECKING, self._told}:
            log.warning("Redis is not used for now, revocations are looked up in Postgres: %s", because)
            self._told = because
        self._trusted = False
        self._untrusted_because = because
        self._wake.set()

    async def _connected(self, connection: AbstractConnection) -> None:
        await connection.on_connect()
        server = await _identity(connection)
        # While Postgres is away nothing could give the trust back: it ends only if what is there may be another copy.
        if server is None or server != self._server:
            self._server = server
            self._servers += 1
            self._distrust(_CHECKING)

    async def _follow(self) -> None:
        while True:
            await woken(self._wake, self._interval)
            try:
                await self._look()
            except Exception:
                log.exception("looking at the revocations failed; trying again")
            if not self._trusted:
                await asyncio.sleep(min(self._interval, 0.1))

    async def _look(self) -> None:
        try:
            await self.catch_up()
        except Unavailable as error:
            # What Postgres said last still holds; Redis stays in use if nothing about it has changed.
            log.debug("revocations: %s", error.detail)

    async def _heal(self) -> None:
        """Ask Postgres how far the record goes, bring the blocklist up to it, and trust it again."""
        for _ in range(5):
            servers = self._servers
            began = time.monotonic()
            async with self._database.connect() as db:
                head = await record.head(db)
            self._database.clock.observe(head.at, began, time.monotonic())
            if head.timeline != self._timeline:
                self._timeline, self._number = head.timeline, head.number
            self._number = max(self._number, head.number)
            marker, _ = await self._blocklist.look(head.timeline, ())
            self._marker = marker
            if await self._lost(head, max(self._number, marker or 0)):
                continue
            if marker is None or marker < self._number:
                await self._fill(head.timeline, marker)
            elif await self._may_trust(servers):
                return

    async def _lost(self, head: Head, seen: int) -> bool:
        """Begin a new timeline if Postgres has lost revocations that were seen: it came back from an older copy.

        Their numbers will be given out again, so nothing in Redis under the old timeline can be believed.
        """
        if seen <= head.number:
            return False
        async with self._database.connect() as db:
            # Decided by what Postgres says now: what was seen may simply be younger than `head`.
            lost = await record.renew(db, head.timeline, seen)
        if lost:
            log.error(
                "Postgres has lost revocations: it was at %d, and is at %d; a restore?", seen, head.number
            )
            # Before anything else: other replicas may not have heard of the new timeline yet.
            await self._blocklist.forget(head.timeline)
        return lost

    async def _may_trust(self, servers: int) -> bool:
        if not self._trusted or time.monotonic() - self._policy_read_at > POLICY_INTERVAL:
            self._evicts = await self._blocklist.evicts()
            self._policy_read_at = time.monotonic()
        if self._evicts:
            self._distrust(f"Redis evicts keys: set maxmemory-policy to noeviction (it is {self._evicts})")
            return True
        if self._servers != servers:
            return False
        if not self._trusted:
            log.info("the blocklist is in use")
        self._trusted = True
        self._told = ""
        return True

    async def _fill(self, timeline: UUID, marker: int | None) -> None:
        async with self._database.transaction(snapshot=True) as db:
            head = await record.head(db)
            entries = await record.since(db, -1 if marker is None else marker)
        if head.timeline != timeline:
            return
        if marker is None:
            await self._blocklist.rebuild(timeline, entries, head.number)
        else:
            await self._blocklist.apply(timeline, entries, after=marker, upto=head.number)


async def _identity(connection: AbstractConnection) -> tuple[str, str] | None:
    """Return which process a connection leads to, and which history its data have; None if it does not say.

    A server that was restarted is another process; one that took over the data of another has another history.
    """
    told = []
    for section, name in (("server", "run_id"), ("replication", "master_replid")):
        await connection.send_command("INFO", section)
        try:
            found = re.search(rf"\b{name}:(\w+)", str(await connection.read_response()))
        except ResponseError:
            found = None
        if found is None:
            return None
        told.append(found[1])
    return told[0], told[1]
