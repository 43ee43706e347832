"""Which store the settings name."""

from pathlib import Path

from service.database import Database
from service.settings import Settings
from service.signing.sealing import Seals
from service.signing.store import FileStore, PostgresStore, Store, StoreName


def store_of(settings: Settings, database: Database, name: StoreName | None = None) -> Store:
    """Return the store of this deployment, or the one of this name.

    Raises:
        KeyRingError: it is Postgres, and the key-encryption key is missing or none.
    """
    match name or settings.key_store:
        case "files":
            return files_store(settings.keys_dir)
        case "postgres":
            return PostgresStore(database, Seals.of(settings))


def files_store(keys_dir: Path) -> Store:
    """Return the store in a folder, which needs no other setting."""
    return FileStore(keys_dir)
