"""What commands need of a deployment: its settings and its database."""

import asyncio
import os
import pwd
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

import asyncpg

from service import schema
from service.audit import acting_as
from service.cli import output
from service.clients.rules import NotAllowed
from service.database import Database
from service.errors import Unavailable
from service.settings import PREFIX, Settings, SettingsError, load
from service.users.passwords import WeakPassword

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


def run(
    work: Callable[[Settings, Database], Awaitable[T]],
    *,
    demand: Callable[[Database], Awaitable[None]] = schema.require,
) -> T:
    """Do a command's work on the deployment's database, or end it with one line that says what to do.

    `demand` refuses, with a `SchemaError`, a database that will not do.
    """
    settings = settings_or_fail()

    async def main() -> T:
        acting()  # within: `serve` goes on after this, and what its workers record is in nobody's name
        async with opened(settings) as database:
            await demand(database)
            return await work(settings, database)

    try:
        return asyncio.run(main())
    except schema.SchemaError as error:
        output.fail(str(error))
    except Unavailable as error:
        output.fail(f"Postgres cannot be reached ({error.detail}); check {PREFIX}DATABASE_URL")
    except asyncpg.InsufficientPrivilegeError as error:
        output.fail(
            f"The role in {PREFIX}DATABASE_URL lacks a right ({error}); grant it, or use the owner's URL"
        )
    except (NotAllowed, WeakPassword) as error:
        output.fail(str(error))


def acting() -> None:
    """Let what this command does be recorded in the name of whoever runs it."""
    acting_as.set(_operator())


def _operator() -> str:
    """Say who runs the command, as far as this machine knows: `root@host`, and who became root where it can tell."""
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:  # containers have users without a name
        name = f"uid {uid}"
    try:
        login = os.getlogin()
    except OSError:  # no terminal
        login = name
    return f"{name}@{socket.gethostname()}" + ("" if login == name else f" (signed in as {login})")
