"""Migrating the database, one process at a time."""

import asyncio

import sqlalchemy as sa
from alembic import command
from alembic.config import Config
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from service.database import sqlalchemy_url
from service.schema import migrations, revisions

LOCK = 0x5EA1_3216
"""The advisory lock that migrations hold, so that every replica may migrate at its start."""


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
