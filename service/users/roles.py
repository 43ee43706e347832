"""Roles, and the scopes they carry."""

from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from service.database import Connection, Statement, TextArray
from service.users.tables import roles, users

Roles = Mapping[str, frozenset[str]]

_all = Statement(sa.select(roles.c.name, roles.c.scopes).order_by(roles.c.name))
_add = Statement(sa.insert(roles).values(name=sa.bindparam("name"), scopes=sa.bindparam("scopes")))
_change = Statement(
    sa.update(roles).where(roles.c.name == sa.bindparam("key")).values(scopes=sa.bindparam("scopes"))
)
_remove = Statement(sa.delete(roles).where(roles.c.name == sa.bindparam("key")))
_holders = Statement(
    sa.select(sa.func.count())
    .select_from(users)
    .where(users.c.roles.contains(sa.bindparam("names", type_=TextArray)))
)


async def load(db: Connection) -> Roles:
    """Load every role with its scopes."""
    return {row["name"]: frozenset(row["scopes"]) for row in await db.rows(_all)}


def carried(roles: Roles, names: Iterable[str]) -> frozenset[str]:
    """Return the scopes that a user with these roles may be granted."""
    return frozenset().union(*(roles.get(name, frozenset()) for name in names))


async def add(db: Connection, *, name: str, scopes: Iterable[str]) -> None:
    """Insert a role."""
    await db.rows(_add, name=name, scopes=list(scopes))


async def change(db: Connection, *, name: str, scopes: Iterable[str]) -> None:
    """Give a role other scopes: they count at its users' next sign-in or refresh."""
    await db.rows(_change, key=name, scopes=list(scopes))


async def remove(db: Connection, name: str) -> None:
    """Delete a role."""
    await db.rows(_remove, key=name)


async def holders(db: Connection, name: str) -> int:
    """Count the users who have a role."""
    count: int = await db.value(_holders, names=[name])
    return count
