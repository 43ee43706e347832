"""The schema's version, and refusing to serve on one that is too old."""

from functools import cache
from pathlib import Path

import asyncpg
import sqlalchemy as sa

from service.database import Connection, Database, Statement

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
    """Return the revisions that this release knows, the newest first: a migration's file begins with its own."""
    return tuple(sorted((file.name[:4] for file in migrations().glob("versions/[0-9]*.py")), reverse=True))


async def revision(db: Connection) -> str | None:
    """Return the revision that the database is at; None if it is empty."""
    try:
        found: str | None = await db.value(_revision)
    except asyncpg.UndefinedTableError:
        return None
    return found


async def problem(db: Connection) -> str | None:
    """Say why this database's schema is too old for this release; None if it is not.

    A newer one is fine: a migration never breaks the release before it.
    """
    found = await revision(db)
    if found is None:
        return "the database is empty. Run: sealwright migrate"
    if found in revisions()[1:]:
        return f"the database's schema is at {found}, this release needs {revisions()[0]}. Run: sealwright migrate"
    return None


async def require_server(database: Database) -> None:
    """Refuse a Postgres that is too old.

    Raises:
        SchemaError: it is.
        Unavailable: it cannot be reached.
    """
    async with database.connect() as db:
        version = await db.value(_server_version)
    if version < OLDEST_POSTGRES:
        raise SchemaError(f"PostgreSQL {version // 10000} is too old: Sealwright needs 15 or later")


async def require(database: Database) -> None:
    """Refuse a database that this release cannot serve on: as `require_server`, and with too old a schema."""
    await require_server(database)
    async with database.connect() as db:
        if (found := await problem(db)) is not None:
            raise SchemaError(found)
