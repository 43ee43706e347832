"""Postgres: there, new enough, migrated, with room for our connections, not behind the wrong pooler, in step."""

import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import asyncpg

from service import schema
from service.cli.doctor.checks import Check, fail, ok, warn
from service.database import Connection, Database
from service.errors import Unavailable
from service.settings import PREFIX, PostgresSettings, read_part

PATIENCE = timedelta(seconds=5)

CLOCKS_DIFFER = 1.0
CLOCKS_DIFFER_TOO_MUCH = 30.0
"""Seconds. Half of the leeway that verifiers are given by default."""

_SERVER = """
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS named,
       pg_is_in_recovery() AS standby, clock_timestamp() AS at, pg_backend_pid() AS backend,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS most,
       (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS superuser
"""


@dataclass(frozen=True, slots=True)
class _Seen:
    row: dict[str, Any]
    offset: float
    """Seconds that its clock is ahead of ours, what the way there and back leaves open taken off."""
    pooled: bool


async def look() -> AsyncIterator[Check]:
    """Look at Postgres as the service would use it."""
    settings = read_part(PostgresSettings)
    url = settings.database_url.get_secret_value()
    try:
        seen = await _seen(url)
    except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        yield fail("postgres", f"cannot be reached: {_cause(error)}", _remedy(error))
        return
    yield _version(seen)
    if seen.row["standby"]:
        yield fail(
            "postgres",
            "this is a standby, which takes no writes",
            f"Point {PREFIX}DATABASE_URL to the primary",
        )
    if seen.row["superuser"]:
        yield warn(
            "postgres",
            "the role is a superuser: it could change the audit events",
            "Give the service a role of its own, that owns nothing; see docs/troubleshooting.md",
        )
    if seen.pooled and await _transactions_pooled(url):
        yield fail(
            "pooler",
            "a pooler that pools transactions is between us and Postgres: prepared statements get lost in it",
            "Let it pool sessions (PgBouncer: pool_mode = session), or connect to Postgres itself",
        )
    yield _connections(seen.row["most"], settings)
    yield clock(seen.offset)
    yield await _schema(url)


async def _seen(url: str) -> _Seen:
    connection = await asyncpg.connect(url, timeout=PATIENCE.total_seconds())
    try:
        await connection.execute("SELECT 1")  # so that the next answer is about the clock alone
        began = time.time()
        row = await connection.fetchrow(_SERVER, timeout=PATIENCE.total_seconds())
        ended = time.time()
        assert row is not None
        off = row["at"].timestamp() - (began + ended) / 2
        unsure = (ended - began) / 2
        offset = 0.0 if abs(off) <= unsure else off - unsure if off > 0 else off + unsure
        # A pooler tells each client a process id of its own making.
        return _Seen(dict(row), offset, connection.get_server_pid() != row["backend"])
    finally:
        await connection.close(timeout=PATIENCE.total_seconds())


async def _transactions_pooled(url: str) -> bool:
    """Whether a second client gets the server process of a first that is still connected, between transactions."""
    one = await asyncpg.connect(url, timeout=PATIENCE.total_seconds(), statement_cache_size=0)
    other = await asyncpg.connect(url, timeout=PATIENCE.total_seconds(), statement_cache_size=0)
    try:
        first = {await one.fetchval("SELECT pg_backend_pid()") for _ in range(3)}
        second = {await other.fetchval("SELECT pg_backend_pid()") for _ in range(3)}
    except asyncpg.InvalidSQLStatementNameError:
        return True  # prepared on one server process, run on another
    finally:
        await one.close(timeout=PATIENCE.total_seconds())
        await other.close(timeout=PATIENCE.total_seconds())
    return len(first) > 1 or len(second) > 1 or first == second


def _version(seen: _Seen) -> Check:
    if seen.row["version"] < schema.OLDEST_POSTGRES:
        oldest = schema.OLDEST_POSTGRES // 10000
        return fail(
            "postgres", f"PostgreSQL {seen.row['named']} is too old", f"Upgrade it to {oldest} or later"
        )
    return ok("postgres", f"PostgreSQL {seen.row['named']} answers")


def _connections(most: int, settings: PostgresSettings) -> Check:
    wanted = settings.workers * settings.database_pool_size
    says = (
        f"one replica opens up to {wanted} connections ({PREFIX}WORKERS times {PREFIX}DATABASE_POOL_SIZE), "
        f"Postgres has {most}: enough for {most // wanted} replicas"
    )
    remedy = f"Raise max_connections, or lower {PREFIX}DATABASE_POOL_SIZE"
    if wanted > most:
        return fail("connections", says, remedy)
    if 2 * wanted > most:
        return warn("connections", says, f"{remedy}, before a second replica starts")
    return ok("connections", says)


def clock(offset: float) -> Check:
    """Judge by how many seconds Postgres is ahead of this machine."""
    says = f"Postgres is {abs(offset):.1f} s {'ahead of' if offset > 0 else 'behind'} this machine"
    remedy = "Keep both machines in step with NTP"
    if abs(offset) > CLOCKS_DIFFER_TOO_MUCH:
        return fail("clock", says, remedy)
    if abs(offset) > CLOCKS_DIFFER:
        return warn("clock", says, remedy)
    return ok("clock", "in step with Postgres")


async def _schema(url: str) -> Check:
    database = Database(url, size=1, timeout=PATIENCE)
    await database.open()
    try:
        async with database.connect() as db:
            return await _revision(db)
    except Unavailable as error:
        return fail("schema", f"not known: {error.detail}", "Look at what is said of Postgres first")
    finally:
        await database.close()


async def _revision(db: Connection) -> Check:
    problem = await schema.problem(db)
    if problem is None:
        return ok("schema", f"at {await schema.revision(db)}; this release needs {schema.revisions()[0]}")
    says, _, remedy = problem.partition(". ")
    return fail("schema", says, remedy)


def _cause(error: Exception) -> str:
    # asyncpg's words may name the host and the role; never the password.
    said = str(error).splitlines()
    return f"{type(error).__name__}: {said[0]}" if said else type(error).__name__


def _remedy(error: Exception) -> str:
    if isinstance(error, asyncpg.InvalidCatalogNameError):
        return "Create the database: createdb NAME"
    if isinstance(error, asyncpg.InvalidAuthorizationSpecificationError):
        return f"Correct user and password in {PREFIX}DATABASE_URL, percent-encoded"
    if isinstance(error, asyncpg.TooManyConnectionsError):
        return f"Raise max_connections, or lower {PREFIX}DATABASE_POOL_SIZE or the number of replicas"
    return f"Start it, or correct host and port in {PREFIX}DATABASE_URL; in a container localhost is the container"
