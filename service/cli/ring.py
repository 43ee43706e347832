"""The key ring as the commands have it: its store, and Postgres where this is set up to reach it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import asyncpg
import typer

from service import audit, schema
from service.cli import output
from service.cli.connect import acting, opened
from service.database import Database
from service.errors import Unavailable
from service.settings import PREFIX, KeySettings, Settings, SettingsError, load, load_for_keys
from service.signing import (
    Entry,
    KeyRingError,
    Policy,
    Store,
    changes,
    files_store,
    replicas,
    rules,
    store_of,
)
from service.signing.replicas import Replica

Kid = Annotated[
    str, typer.Argument(help="From `sealwright keys list`; its first 8 characters will do.", metavar="KID")
]


@dataclass(frozen=True, slots=True)
class Ring:
    """What every command works with. The services and the commands must have the same settings."""

    settings: KeySettings
    policy: Policy
    store: Store
    deployment: Settings | None
    """None where nothing but the keys is configured: then the keys are in files, and Postgres is not asked."""
    database: Database | None

    @property
    def now(self) -> datetime:
        """The present moment."""
        return datetime.now(UTC)

    def deployed(self) -> tuple[Settings, Database]:
        """Return what reaches the deployment, or end a command that cannot do without."""
        if self.deployment is None or self.database is None:
            output.fail(
                f"This takes the deployment's settings; see: sealwright settings ({PREFIX}DATABASE_URL)"
            )
        return self.deployment, self.database

    async def entries(self) -> tuple[Entry, ...]:
        """Read the ring."""
        return self.store.parse(await self.store.read())

    async def live(self) -> list[Replica] | None:
        """Return the workers that run; None if nobody can say. None runs without a database."""
        if self.database is None:
            return []
        try:
            async with self.database.connect() as db:
                return await replicas.live(db, self.settings.key_watch_interval * rules.LOOKS_ALIVE)
        except asyncpg.UndefinedTableError:  # not migrated yet, so nothing serves on it
            return []
        except Unavailable:
            return None


@asynccontextmanager
async def opened_ring() -> AsyncIterator[Ring]:
    """Lend the ring that the settings name.

    Raises:
        SettingsError: a setting is missing or wrong.
        KeyRingError: the ring is in Postgres, and the key-encryption key is missing or none.
    """
    known = load_for_keys()
    policy = Policy.of(known)
    try:
        deployment = load()
    except SettingsError:
        if known.key_store != "files":
            raise
        yield Ring(known, policy, files_store(known.keys_dir), None, None)
        return
    async with opened(deployment) as database:
        yield Ring(known, policy, store_of(deployment, database), deployment, database)


def run(work: Callable[[Ring], Awaitable[None]]) -> None:
    """Do a command's work on the ring, or end it with a line that says what to do; then remove what is over."""

    async def main() -> None:
        acting()
        async with opened_ring() as ring:
            await work(ring)
            await _tidy(ring)

    try:
        asyncio.run(main())
    except (SettingsError, KeyRingError, schema.SchemaError) as error:
        output.fail(str(error))
    except Unavailable as error:
        output.fail(f"Postgres cannot be reached ({error.detail}); check {PREFIX}DATABASE_URL")


async def _tidy(ring: Ring) -> None:
    try:
        entries = await ring.entries()
        if changes.untidy(entries, await ring.store.privates(), ring.policy, ring.now):
            await ring.store.change(changes.tidy(ring.policy, ring.now))
    except KeyRingError as error:
        output.say(f"Keys that are over could not be removed: {error}")


async def record(ring: Ring, event: audit.Event, detail: str) -> None:
    """Tell the audit, where this is set up to reach it."""
    if ring.database is None:
        return
    try:
        async with ring.database.transaction() as db:
            await audit.record(db, event, detail=detail)
    except (Unavailable, asyncpg.UndefinedTableError):
        output.say("The audit does not know of this: Postgres cannot be reached, or is not migrated yet.")


def meant(kid: str, entries: rules.Entries) -> Entry:
    """Return the key that was named, or end the command."""
    # A narrow terminal breaks a kid into lines.
    named = [e for e in entries if e.kid == kid or (len(kid) >= 8 and e.kid.startswith(kid))]
    if len(named) != 1:
        output.fail(f"The ring has no key {kid}. See: sealwright keys list")
    return named[0]
