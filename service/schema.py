"""The schema's version: migrating under a lock, and refusing to serve on one that is too old."""

import asyncio
from functools import cache
from pathlib import Path

import asyncpg
import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.database import Connection, Database, Statement, sqlalchemy_url

LOCK = 0x5EA1_3216
"""The advisory lock that migrations hold, so that every replica may migrate at its start."""

OLDEST_POSTGRES = 150000

_server_version = Statement(
    sa.select(sa.cast(sa.func.current_setting(sa.literal_column("'server_version_num'")), sa.Integer))
)
_revision = Statement(sa.select(sa.column("version_num", sa.Text)).select_from(sa.table("alembic_version")))


class SchemaError(Exception):
    """The database cannot be used as it is; the text says what to run."""


def migrations() -> Path:
    """Return the folder of migrations: in the package where it was installed, else beside it in a checkout."""
    inside = Path(__file__).parent / "_migrations"
    return inside if inside.is_dir() else Path(__file__).parent.parent / "migrations"


@cache
def revisions() -> tuple[str, ...]:
    """Return the revisions that this release knows, the newest first."""
    return tuple(s.revision for s in ScriptDirectory(str(migrations())).walk_revisions())


async def problem(db: Connection) -> str | None:
    """Say why this database's schema is too old for this release; None if it is not.

    A newer one is fine: a migration never breaks the release before it.
    """
    try:
        found = await db.value(_revision)
    except asyncpg.UndefinedTableError:
        found = None
    if found is None:
        return "the database is empty. Run: sealwright migrate"
    if found in revisions()[1:]:
        return f"the database's schema is at {found}, this release needs {revisions()[0]}. Run: sealwright migrate"
    return None


async def require(database: Database) -> None:
    """Refuse a database that this release cannot serve on.

    Raises:
        SchemaError: its schema is too old, or Postgres itself is.
        Unavailable: it cannot be reached.
    """
    async with database.connect() as db:
        version = await db.value(_server_version)
        if version < OLDEST_POSTGRES:
            raise SchemaError(f"PostgreSQL {version // 10000} is too old: Sealwright needs 15 or later")
        if (found := await problem(db)) is not None:
            raise SchemaError(found)


async def upgrade(url: str) -> tuple[str | None, str]:
    """Bring the database to this release's schema; return the revision before and after.

    Safe on every replica at once: one migrates, the others wait for it.
    """
    engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await connection.run_sync(_upgrade)
    finally:
        await engine.dispose()


def _upgrade(connection: sa.Connection) -> tuple[str | None, str]:
    # Held by the session, not a transaction: released at the end even if this process dies.
    connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": LOCK})
    connection.commit()
    try:
        before = _current(connection)
        if before is None or before in revisions():
            config = Config()
            config.set_main_option("script_location", str(migrations()))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
        connection.commit()
        return before, _current(connection) or ""
    finally:
        connection.rollback()
        connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK})
        connection.commit()


def _current(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    found: str | None = connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
    connection.commit()
    return found


def upgrade_now(url: str) -> tuple[str | None, str]:
    """Do `upgrade` from code that has no event loop."""
    return asyncio.run(upgrade(url))
