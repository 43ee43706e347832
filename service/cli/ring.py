"""The key ring as the commands have it: its store, and Postgres where this is set up to reach it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime

import asyncpg

from service.cli.connect import opened
from service.database import Database
from service.errors import Unavailable
from service.settings import KeySettings, Settings, SettingsError, load, load_for_keys
from service.signing import Policy, Store, files_store, replicas, rules, store_of
from service.signing.replicas import Replica


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
