"""What commands need of a deployment: its settings, its database, its revocations."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from service import schema
from service.cli import output
from service.database import Database
from service.errors import Unavailable
from service.revocation import Revocations
from service.settings import PREFIX, Settings, SettingsError, load

T = TypeVar("T")


def settings_or_fail() -> Settings:
    """Read the settings, or end the command with a line for each that is missing or wrong."""
    try:
        return load()
    except SettingsError as error:
        output.fail(str(error))


@asynccontextmanager
async def opened(settings: Settings) -> AsyncIterator[Database]:
    """Lend a small pool for the length of a command."""
    database = Database(settings.database_url.get_secret_value(), size=2, timeout=settings.database_timeout)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def revoking(settings: Settings, database: Database) -> AsyncIterator[Revocations]:
    """Lend the revocations, so that a command's change is on the blocklist when it ends."""
    revocations = Revocations(
        database,
        settings.redis_url.get_secret_value(),
        namespace=settings.redis_namespace,
        timeout=settings.redis_timeout,
        interval=settings.watch_interval,
    )
    await revocations.start()
    try:
        yield revocations
    finally:
        await revocations.stop()


def run(work: Callable[[Settings, Database], Awaitable[T]]) -> T:
    """Do a command's work on the deployment's database, or end it with one line that says what to do."""
    settings = settings_or_fail()

    async def main() -> T:
        async with opened(settings) as database:
            await schema.require(database)
            return await work(settings, database)

    try:
        return asyncio.run(main())
    except schema.SchemaError as error:
        output.fail(str(error))
    except Unavailable as error:
        output.fail(f"Postgres cannot be reached ({error.detail}); check {PREFIX}DATABASE_URL")
    except ValueError as error:
        output.fail(str(error))
