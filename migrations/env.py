"""Runs a migration on the connection that `service.migrating` hands over, which holds the lock."""

from alembic import context

from service import catalog  # noqa: F401  # their tables belong to the metadata
from service.audit import tables as audit  # noqa: F401
from service.clients import tables as clients  # noqa: F401
from service.database import metadata
from service.revocation import tables as revocation  # noqa: F401
from service.sessions import tables as sessions  # noqa: F401
from service.users import tables as users  # noqa: F401

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transaction_per_migration=True,
)
with context.begin_transaction():
    context.run_migrations()
