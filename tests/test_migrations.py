"""The migrations make the schema that the tables describe, on any number of replicas at once."""

import asyncio
import re
import subprocess
from datetime import timedelta
from pathlib import Path

import asyncpg
import pytest
from alembic.script import ScriptDirectory
from sqlalchemy.ext.asyncio import create_async_engine

from service import (
    app,  # noqa: F401  # imports every table into the metadata
    embedded,
    migrating,
    schema,
)
from service.database import Database, metadata, sqlalchemy_url
from tests.support.database import sql
from tests.support.deployment import Deployment, drop_database, new_database


def dump(url: str) -> str:
    """The schema as Postgres tells it, without what is not the schema."""
    done = subprocess.run(
        [
            str(embedded.postgres_binary("pg_dump")),
            "--schema-only",
            "--no-owner",
            "--exclude-table=alembic_version",
            url,
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = [line for line in done.stdout.splitlines() if line and not re.match(r"--|\\|SET |SELECT ", line)]
    return "\n".join(lines)


async def create_all(url: str) -> None:
    engine = create_async_engine(sqlalchemy_url(url))
    async with engine.begin() as connection:
        await connection.run_sync(metadata.create_all)
    await engine.dispose()


def test_migrations_equal_models(empty_database: str, server_urls: tuple[str, str]) -> None:
    migrating.upgrade_now(empty_database)
    described = new_database(server_urls[0])
    try:
        asyncio.run(create_all(described))
        expected = dump(described)
    finally:
        drop_database(server_urls[0], described)

    assert "fillfactor" in expected
    assert sorted(dump(empty_database).splitlines()) == sorted(expected.splitlines())
    assert dump(empty_database) == expected


def test_replicas_that_migrate_at_once_migrate_once(empty_database: str) -> None:
    async def together() -> list[tuple[str | None, str]]:
        return await asyncio.gather(*(migrating.upgrade(empty_database) for _ in range(5)))

    results = asyncio.run(together())

    newest = schema.revisions()[0]
    assert sorted(results, key=str) == sorted([(None, newest)] + [(newest, newest)] * 4, key=str)


def test_a_migration_that_was_killed_leaves_no_lock_behind(empty_database: str) -> None:
    async def take_and_die() -> None:
        connection = await asyncpg.connect(empty_database)
        await connection.execute("SELECT pg_advisory_lock($1)", migrating.LOCK)
        connection.terminate()

    asyncio.run(take_and_die())

    assert migrating.upgrade_now(empty_database)[1] == schema.revisions()[0]


def test_the_revisions_told_by_file_names_are_alembics() -> None:
    scripts = ScriptDirectory(str(schema.migrations())).walk_revisions()

    assert schema.revisions() == tuple(script.revision for script in scripts)


def test_the_command_tells_what_it_did(empty_database: str, tmp_path: Path) -> None:
    deployment = Deployment(empty_database, "redis://127.0.0.1:1/0", tmp_path, "http://localhost:8000")

    first, second = (deployment.cli("migrate").stderr for _ in range(2))

    assert first == f"Migrated from an empty database to {schema.revisions()[0]}.\n"
    assert second == f"The schema is at {schema.revisions()[0]}: nothing to do.\n"


def test_serve_refuses_an_empty_database_and_says_what_to_run(empty_database: str, tmp_path: Path) -> None:
    deployment = Deployment(empty_database, "redis://127.0.0.1:1/0", tmp_path, "http://localhost:8000")
    deployment.keys_dir.mkdir()
    deployment.cli("keys", "generate")

    refused = deployment.cli("serve", check=False)

    assert refused.returncode == 1
    assert refused.stderr == "the database is empty. Run: sealwright migrate\n"


def test_a_postgres_that_is_too_old_is_refused_by_its_version(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "OLDEST_POSTGRES", 1_000_000)

    async def refuse() -> None:
        database = Database(empty_database, size=1, timeout=timedelta(seconds=5))
        await database.open()
        try:
            await schema.require_server(database)
        finally:
            await database.close()

    with pytest.raises(schema.SchemaError, match=r"PostgreSQL \d+ is too old"):
        asyncio.run(refuse())


def test_a_schema_of_a_later_release_is_served(empty_database: str) -> None:
    migrating.upgrade_now(empty_database)
    sql(empty_database, "UPDATE alembic_version SET version_num = '9999'")

    assert migrating.upgrade_now(empty_database) == ("9999", "9999")
    assert problem_of(empty_database) is None


def test_a_schema_of_an_earlier_release_is_refused(
    empty_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrating.upgrade_now(empty_database)
    known = schema.revisions()
    monkeypatch.setattr(schema, "revisions", lambda: ("9999", *known))

    assert "Run: sealwright migrate" in (problem_of(empty_database) or "")


def problem_of(url: str) -> str | None:
    async def look() -> str | None:
        database = Database(url, size=1, timeout=timedelta(seconds=5))
        await database.open()
        try:
            async with database.connect() as db:
                return await schema.problem(db)
        finally:
            await database.close()

    return asyncio.run(look())
