"""The schema's metadata, the pool, and how a statement runs.

SQLAlchemy Core is the language for tables and statements. Each statement is compiled once and runs on
an asyncpg pool that keeps no state in its connections (docs/decisions/0002).
"""

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import timedelta
from typing import Any, TypeAlias
from urllib.parse import urlsplit

import asyncpg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.dialects.postgresql import asyncpg as dialect
from sqlalchemy.sql.compiler import SQLCompiler

from service.clock import DatabaseClock
from service.errors import Unavailable

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

TextArray = ARRAY(sa.Text)
Time = sa.DateTime(timezone=True)

Row: TypeAlias = asyncpg.Record
_Raw: TypeAlias = "asyncpg.pool.PoolConnectionProxy[Row]"

now = sa.func.clock_timestamp
"""The one clock. `now()` in SQL is the transaction's start, older than any wait for a row lock."""

_DOWN = (
    OSError,  # refused, reset, no such host
    TimeoutError,
    asyncpg.PostgresConnectionError,
    asyncpg.InterfaceError,  # "connection is closed", "pool is closing"
    asyncpg.CannotConnectNowError,  # starting up or shutting down
    asyncpg.OperatorInterventionError,  # terminated by an administrator, cancelled
    asyncpg.InsufficientResourcesError,  # too many connections, disk full
    asyncpg.ReadOnlySQLTransactionError,  # a standby that is not yet promoted
    asyncpg.TransactionRollbackError,  # a deadlock; nothing was done
    asyncpg.InvalidCachedStatementError,  # migrated under a prepared statement; the next try prepares anew
    asyncpg.InternalClientError,  # asyncpg's word for a connection that breaks between two of its steps
    asyncpg.InvalidAuthorizationSpecificationError,  # a wrong password
    asyncpg.InvalidCatalogNameError,  # no such database
)


@contextmanager
def _reaching() -> Iterator[None]:
    """Turn what says that Postgres is away or busy, and nothing else, into `Unavailable`."""
    try:
        yield
    except _DOWN as error:
        raise Unavailable("the database", detail=f"{type(error).__name__}: {error}") from error


_AT_HAND = 10.0
"""Seconds for which an idle connection is kept at hand, before it goes back to the pool."""

_GIVE_BACK = 1.0
"""Seconds for a connection whose statement took too long to be free again, before it is thrown away. A Postgres that
answers cancels in milliseconds; of one that does not, a caller has waited long enough."""


class Statement:
    """A Core statement, compiled once. Its literals are kept beside it, its parameters are given by name."""

    __slots__ = ("_defaults", "_names", "sql")

    def __init__(self, statement: sa.Executable) -> None:
        assert isinstance(statement, sa.ClauseElement)
        compiled = statement.compile(dialect=dialect.dialect())  # type: ignore[no-untyped-call]  # theirs
        assert isinstance(compiled, SQLCompiler)
        self.sql: str = compiled.string
        self._names: tuple[str, ...] = tuple(compiled.positiontup or ())
        self._defaults: Mapping[str, Any] = {
            name: bind.value for name, bind in compiled.binds.items() if not bind.required
        }

    def arguments(self, values: Mapping[str, Any]) -> list[Any]:
        """Return the values in the order of the statement's placeholders; a missing one is a `KeyError`."""
        defaults = self._defaults
        return [values[name] if name in values else defaults[name] for name in self._names]


def deleting_over(key: sa.Column[Any], expires_at: sa.Column[Any]) -> Statement:
    """Return the statement that deletes the `batch` rows of a table that expired first, and returns their keys.

    Rows that another replica is deleting at this moment are left to it.
    """
    over = (
        sa.select(key)
        .where(expires_at < now())
        .order_by(expires_at)
        .limit(sa.bindparam("batch", type_=sa.Integer))
        .with_for_update(skip_locked=True)
    )
    return Statement(sa.delete(key.table).where(key.in_(over)).returning(key))


class Connection:
    """One connection, in autocommit unless inside `transaction()`. A `db` argument means one of these."""

    __slots__ = ("_raw",)

    def __init__(self, raw: "asyncpg.pool.PoolConnectionProxy[Row] | asyncpg.Connection[Row]") -> None:
        self._raw = raw

    async def row(self, statement: Statement, **values: Any) -> Row | None:
        """Run a statement; its first row, or None."""
        with _reaching():
            return await self._raw.fetchrow(statement.sql, *statement.arguments(values))

    async def rows(self, statement: Statement, **values: Any) -> list[Row]:
        """Run a statement; all its rows."""
        with _reaching():
            return await self._raw.fetch(statement.sql, *statement.arguments(values))

    async def value(self, statement: Statement, **values: Any) -> Any:
        """Run a statement; the first column of its first row, or None."""
        with _reaching():
            return await self._raw.fetchval(statement.sql, *statement.arguments(values))

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[None]:
        """Commit at the end of the block, roll back on an exception.

        With `snapshot`, every statement inside sees the database at one and the same moment.
        """
        transaction = self._raw.transaction(isolation="repeatable_read" if snapshot else "read_committed")
        with _reaching():
            await transaction.start()
        try:
            yield
        except BaseException:
            with contextlib.suppress(*_DOWN):  # then the server has rolled back by itself
                await transaction.rollback()
            raise
        with _reaching():
            await transaction.commit()


class Database:
    """The pool. Whatever of it is down or slow becomes `Unavailable`, a 503 with `Retry-After`."""

    def __init__(
        self,
        url: str,
        *,
        size: int,
        timeout: timedelta,
        waited: Callable[[float], None] | None = None,
        lend: Callable[[Any], Connection] = Connection,
    ) -> None:
        """Take where it is, what is told how long (in seconds) a connection was waited for, and how one is lent."""
        check_url(url)
        self._waited = waited
        self._lend = lend
        self.clock = DatabaseClock()
        self._url = url
        self._size = size
        self._timeout = timeout.total_seconds()
        self._opened: asyncpg.Pool[Row] | None = None
        self._at_hand: deque[tuple[_Raw, float]] = deque()
        self._waiting = 0

    async def open(self) -> None:
        """Open the pool. Connections are made when they are needed, so Postgres may still be away."""
        self._opened = await asyncpg.create_pool(
            self._url,
            min_size=0,
            max_size=self._size,
            timeout=self._timeout,
            command_timeout=self._timeout,
            max_inactive_connection_lifetime=300,
            reset=_keep,
            server_settings={"application_name": "sealwright", "jit": "off", "TimeZone": "UTC"},
        )

    @property
    def _pool(self) -> "asyncpg.Pool[Row]":
        assert self._opened is not None, "open() the database first"
        return self._opened

    @property
    def size(self) -> int:
        """How many connections there may be."""
        return self._size

    def connections(self) -> tuple[int, int]:
        """Return how many connections are lent, and how many idle."""
        idle = self._pool.get_idle_size() + len(self._at_hand)
        return self._pool.get_size() - idle, idle

    async def close(self) -> None:
        """Close the pool; what still runs is given a moment, then cut."""
        if self._opened is None:
            return
        while self._at_hand:
            await self._release(self._at_hand.pop()[0])
        try:
            await asyncio.wait_for(self._pool.close(), self._timeout)
        except TimeoutError:
            self._pool.terminate()

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[Connection]:
        """Lend a connection.

        Raises:
            Unavailable: Postgres is down, too slow, or every connection is busy for too long.
        """
        asked = time.perf_counter()
        raw = await self._take()
        if self._waited is not None:
            self._waited(time.perf_counter() - asked)
        try:
            yield self._lend(raw)
        except BaseException:
            await self._release(raw)  # what was cut short may still be under way in it
            raise
        else:
            await self._give_back(raw)

    async def _take(self) -> _Raw:
        while self._at_hand:
            raw, _ = self._at_hand.pop()
            if not _is_closed(raw):
                return raw
            await self._release(raw)
        self._waiting += 1
        try:
            with _reaching():
                return await self._pool.acquire(timeout=self._timeout)
        finally:
            self._waiting -= 1

    async def _give_back(self, raw: _Raw) -> None:
        # To the pool and from it is half the cost of a short statement: two tasks and several turns of the loop.
        if self._waiting:
            await self._release(raw)
            return
        now = time.monotonic()
        self._at_hand.append((raw, now))
        # The oldest has lain idle longest: the pool closes it, if it is not needed for long.
        if now - self._at_hand[0][1] > _AT_HAND:
            await self._release(self._at_hand.popleft()[0])

    async def _release(self, raw: _Raw) -> None:
        with contextlib.suppress(*_DOWN):  # the pool drops it; what was done is done
            await self._pool.release(raw, timeout=_GIVE_BACK)

    @asynccontextmanager
    async def transaction(self, *, snapshot: bool = False) -> AsyncIterator[Connection]:
        """Lend a connection inside a transaction. Raises as `connect` does."""
        async with self.connect() as db, db.transaction(snapshot=snapshot):
            yield db


def _is_closed(raw: _Raw) -> bool:
    try:
        return raw.is_closed()
    except asyncpg.InterfaceError:  # the pool has taken it back already
        return True


async def _keep(_: "asyncpg.Connection[Row]") -> None:
    # No statement of ours leaves anything in a connection, so the usual RESET after each use would be a
    # round trip for nothing.
    return


def check_url(url: str) -> None:
    """Refuse what asyncpg could not read.

    Raises:
        ValueError: with what a right one looks like; never with the URL, which holds a password.
    """
    if urlsplit(url).scheme not in {"postgresql", "postgres"}:
        raise ValueError("the database URL has the form postgresql://user:password@host:5432/name")


def sqlalchemy_url(url: str) -> sa.URL:
    """Return the URL in SQLAlchemy's form, for Alembic."""
    check_url(url)
    return sa.make_url(url).set(drivername="postgresql+asyncpg")
