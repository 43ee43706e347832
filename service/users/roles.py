"""Roles, and the scopes they carry."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from service.database import Connection, Statement
from service.users.tables import roles

Roles = Mapping[str, frozenset[str]]

_all = Statement(sa.select(roles.c.name, roles.c.scopes).order_by(roles.c.name))
_add = Statement(sa.insert(roles).values(name=sa.bindparam("name"), scopes=sa.bindparam("scopes")))


async def load(db: Connection) -> Roles:
    """Load every role with its scopes."""
    return {row["name"]: frozenset(row["scopes"]) for row in await db.rows(_all)}


def carried(roles: Roles, names: Iterable[str]) -> frozenset[str]:
    """Return the scopes that a user with these roles may be granted."""
    return frozenset().union(*(roles.get(name, frozenset()) for name in names))


async def add(db: Connection, *, name: str, scopes: Iterable[str]) -> None:
    """Insert a role."""
    await db.rows(_add, name=name, scopes=list(scopes))
