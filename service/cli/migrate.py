"""`sealwright migrate`."""

from sqlalchemy.exc import DBAPIError

from service import migrating, schema
from service.cli import output
from service.cli.connect import run
from service.database import Database
from service.settings import Settings


def migrate() -> None:
    """Bring the database to this release's schema. Safe on every replica at once."""
    settings = run(_reached, demand=schema.require_server)
    try:
        before, after = migrating.upgrade_now(settings.database_url.get_secret_value())
    except DBAPIError as error:
        output.fail(f"The migration failed and left everything as it was: {error.orig}")
    if before == after:
        output.say(f"The schema is at {after}: nothing to do.")
    else:
        output.say(f"Migrated from {before or 'an empty database'} to {after}.")


async def _reached(settings: Settings, _: Database) -> Settings:
    return settings
