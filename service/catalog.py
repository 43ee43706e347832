"""In-process copies of small tables (clients, resources, roles), kept current by every worker for itself.

Whoever changes one of these tables raises one version in the same transaction; each worker looks at
it several times a second, one tiny statement, and loads anew when it has moved.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Generic, TypeVar

import sqlalchemy as sa

from service.background import Background
from service.database import Connection, Database, Statement, metadata
from service.errors import Unavailable

log = logging.getLogger("sealwright")

T = TypeVar("T")

catalog_version = sa.Table(
    "catalog_version",
    metadata,
    sa.Column("id", sa.Boolean, primary_key=True, server_default=sa.true(), comment="the one row"),
    sa.Column("version", sa.BigInteger, nullable=False, server_default=sa.text("0")),
    sa.CheckConstraint("id", name="one_row"),
)

_version = Statement(sa.select(catalog_version.c.version))
_raise = Statement(
    sa.update(catalog_version).values(
        version=catalog_version.c.version + sa.bindparam("by", type_=sa.BigInteger)
    )
)

_UNSEEN = 1 << 32

RELOAD_AFTER = 60.0  # seconds; so that a change made by hand, without the version, is seen too


async def changed(db: Connection) -> None:
    """Tell every worker that clients, resources or roles have changed. Call it in the transaction that does it."""
    await db.rows(_raise, by=1)


async def restored(db: Connection) -> None:
    """Tell every worker that these tables are those of an earlier time, under a version that no worker has seen."""
    await db.rows(_raise, by=_UNSEEN)


class LiveCopy(Generic[T]):
    """A value loaded from Postgres, at most `interval` and the time of a look behind it."""

    def __init__(
        self,
        database: Database,
        load: Callable[[Connection], Awaitable[T]],
        *,
        interval: timedelta,
        max_age: timedelta,
    ) -> None:
        self._database = database
        self._load = load
        self._interval = interval.total_seconds()
        self._max_age = max_age.total_seconds()
        self._lock = asyncio.Lock()
        self._value: T | None = None
        self._version = -1
        self._looked_at = float("-inf")
        self._failed_at = float("-inf")
        self._failure: Unavailable | None = None
        self._loaded_at = float("-inf")
        self._background = Background()

    @property
    def current(self) -> T:
        """The copy.

        Raises:
            Unavailable: Postgres has not confirmed it for longer than `max_age`: a client disabled
                meanwhile must not go on getting tokens.
        """
        if time.monotonic() - self._looked_at > self._max_age:
            raise Unavailable("the database", detail="the copy of clients and roles is too old")
        return self.last

    @property
    def last(self) -> T:
        """The copy, however old: for answers that give nobody anything new."""
        assert self._value is not None, "start() the copy first"
        return self._value

    async def start(self) -> None:
        """Load the copy and keep it current until `stop`."""
        await self.refresh()
        self._background.start(self._follow(), "catalog")

    async def stop(self) -> None:
        """Stop following."""
        await self._background.stop()

    async def refresh(self) -> T:
        """Look now, and return what was found. However many ask at once, they share one look, or its failure.

        Raises:
            Unavailable: Postgres is away.
        """
        asked = time.monotonic()
        async with self._lock:
            if self._failure is not None and self._failed_at >= asked:
                raise self._failure
            if self._looked_at < asked:
                began = time.monotonic()
                try:
                    await self._look()
                except Unavailable as failure:
                    self._failed_at, self._failure = began, failure
                    raise
        return self.last

    async def _follow(self) -> None:
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self.refresh()
            except Unavailable as error:
                log.debug("clients and roles: %s", error.detail)
            except Exception:
                log.exception("clients and roles could not be loaded; the last copy stays")

    async def _look(self) -> None:
        began = time.monotonic()
        async with self._database.connect() as db:
            version = await db.value(_version)
            if version != self._version or began - self._loaded_at > RELOAD_AFTER:
                async with db.transaction(snapshot=True):
                    version = await db.value(_version)
                    self._value = await self._load(db)
                self._version, self._loaded_at = version, began
        self._looked_at = began
