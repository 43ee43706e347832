"""User rows: found, added, changed."""

import unicodedata
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.database import Connection, Row, Statement, TextArray, Time, now
from service.users.tables import roles, users


@dataclass(frozen=True, slots=True)
class User:
    """A person with a password."""

    id: UUID
    username: str
    email: str | None
    password_hash: str | None = field(repr=False)
    password_changed_at: datetime
    roles: tuple[str, ...]
    epoch: int
    disabled: bool
    created_at: datetime

    def has_password_of(self, other: "User") -> bool:
        """Whether nobody has set another password since `other` was read; a mere rehash is none."""
        return self.password_changed_at == other.password_changed_at


@dataclass(frozen=True, slots=True)
class Raised:
    """What a change leaves of a user's tokens: those made under this epoch or a later one; None: none at all."""

    dead_below: int | None


_id = sa.bindparam("user_id", type_=sa.Uuid)
_name = sa.bindparam("name", type_=sa.Text)
_columns = (
    users.c.id,
    users.c.username,
    users.c.email,
    users.c.password_hash,
    users.c.password_changed_at,
    users.c.roles,
    users.c.epoch,
    users.c.disabled_at,
    users.c.created_at,
)
# A username has no @ in it, so one look-up serves both and nobody is named like another's email.
_by_name = Statement(sa.select(*_columns).where(sa.or_(users.c.username == _name, users.c.email == _name)))
_by_id = Statement(sa.select(*_columns).where(users.c.id == _id))
_held = Statement(sa.select(*_columns).where(users.c.id == _id).with_for_update())
_all = Statement(
    sa.select(*_columns).order_by(users.c.username).limit(sa.bindparam("limit", type_=sa.Integer))
)
_usernames = Statement(
    sa.select(users.c.id, users.c.username).where(
        users.c.id == sa.any_(sa.bindparam("user_ids", type_=ARRAY(sa.Uuid)))
    )
)
_add = Statement(
    sa.insert(users)
    .values(
        username=sa.bindparam("username"),
        email=sa.bindparam("email"),
        password_hash=sa.bindparam("password_hash"),
        roles=sa.bindparam("roles"),
    )
    .returning(users.c.id)
)
_rehash = Statement(
    sa.update(users)
    .values(password_hash=sa.bindparam("renewed"))
    .where(users.c.id == _id, users.c.password_hash == sa.bindparam("old"))
)
_raised = users.c.epoch + 1
_dead_below = sa.case((users.c.disabled_at.is_(None), users.c.epoch)).label("dead_below")
_new_password = sa.update(users).values(
    password_hash=sa.bindparam("password_hash"), password_changed_at=now()
)
_change_password = Statement(
    _new_password.where(
        users.c.id == _id,
        users.c.password_changed_at == sa.bindparam("read", type_=Time),
        users.c.epoch == sa.bindparam("epoch", type_=sa.BigInteger),
        users.c.disabled_at.is_(None),
    ).returning(users.c.epoch)
)
_reset_password = Statement(
    _new_password.values(epoch=_raised).where(users.c.id == _id).returning(_dead_below)
)
_raise_epoch = Statement(
    sa.update(users).values(epoch=_raised).where(users.c.id == _id).returning(_dead_below)
)
_disable = Statement(
    sa.update(users)
    .values(epoch=_raised, disabled_at=now())
    .where(users.c.id == _id, users.c.disabled_at.is_(None))
    .returning(_dead_below)
)
_enable = Statement(
    sa.update(users)
    .values(disabled_at=None)
    .where(users.c.id == _id, users.c.disabled_at.is_not(None))
    .returning(_dead_below)
)
_set_roles = Statement(
    sa.update(users)
    .values(roles=sa.bindparam("roles"), epoch=_raised)
    .where(users.c.id == _id)
    .returning(_dead_below)
)
_delete = Statement(sa.delete(users).where(users.c.id == _id))
_known_roles = Statement(
    sa.select(roles.c.name).where(roles.c.name == sa.any_(sa.bindparam("names", type_=TextArray)))
)


def normalised(name: str) -> str:
    """Return a username or email in the form in which it is stored and looked up."""
    return unicodedata.normalize("NFKC", name).strip().lower()


async def by_name(db: Connection, name: str) -> User | None:
    """Find a user by username or email."""
    return _user(await db.row(_by_name, name=normalised(name)))


async def by_id(db: Connection, user_id: UUID) -> User | None:
    """Find a user by id."""
    return _user(await db.row(_by_id, user_id=user_id))


async def held(db: Connection, user_id: UUID) -> User | None:
    """Find a user by id, and let nobody sign in as it or change it until this transaction is over."""
    return _user(await db.row(_held, user_id=user_id))


async def delete(db: Connection, user_id: UUID) -> None:
    """Delete a user's row, and with it the rows of its sessions."""
    await db.rows(_delete, user_id=user_id)


async def usernames(db: Connection, user_ids: Collection[UUID]) -> dict[UUID, str]:
    """Return the names of those of these users that there are."""
    return {row["id"]: row["username"] for row in await db.rows(_usernames, user_ids=list(user_ids))}


async def listed(db: Connection, *, limit: int) -> list[User]:
    """Return users by name."""
    return [user for row in await db.rows(_all, limit=limit) if (user := _user(row))]


async def add(
    db: Connection, *, username: str, email: str | None, password_hash: str | None, roles: Sequence[str]
) -> UUID:
    """Insert a user; a name or email that is taken is an `asyncpg.UniqueViolationError`."""
    added: UUID = await db.value(
        _add,
        username=normalised(username),
        email=email and normalised(email),
        password_hash=password_hash,
        roles=list(roles),
    )
    return added


async def unknown_roles(db: Connection, names: Sequence[str]) -> list[str]:
    """Return those of these names that no role has."""
    known = {row["name"] for row in await db.rows(_known_roles, names=list(names))}
    return [name for name in names if name not in known]


async def rehash(db: Connection, user_id: UUID, *, old: str, renewed: str) -> None:
    """Store the same password under newer parameters, unless it was changed meanwhile."""
    await db.rows(_rehash, user_id=user_id, old=old, renewed=renewed)


async def change_password(db: Connection, user: User, password_hash: str) -> bool:
    """Store a new password, unless the user was shut out or changed since `user` was read."""
    row = await db.row(
        _change_password,
        user_id=user.id,
        password_hash=password_hash,
        read=user.password_changed_at,
        epoch=user.epoch,
    )
    return row is not None


async def reset_password(db: Connection, user_id: UUID, password_hash: str) -> Raised | None:
    """Store a new password and raise the epoch; None if there is no such user."""
    return _raised_to(await db.row(_reset_password, user_id=user_id, password_hash=password_hash))


async def raise_epoch(db: Connection, user_id: UUID) -> Raised | None:
    """Raise the epoch: every token made until now is dead; None if there is no such user."""
    return _raised_to(await db.row(_raise_epoch, user_id=user_id))


async def disable(db: Connection, user_id: UUID) -> Raised | None:
    """Disable a user and raise the epoch; None if the user is disabled already."""
    return _raised_to(await db.row(_disable, user_id=user_id))


async def enable(db: Connection, user_id: UUID) -> Raised | None:
    """Enable a user; None if the user was not disabled."""
    return _raised_to(await db.row(_enable, user_id=user_id))


async def set_roles(db: Connection, user_id: UUID, roles: Sequence[str]) -> Raised | None:
    """Give a user these roles and no others, and raise the epoch; None if there is no such user."""
    return _raised_to(await db.row(_set_roles, user_id=user_id, roles=list(roles)))


def _raised_to(row: Row | None) -> Raised | None:
    return None if row is None else Raised(row["dead_below"])


def _user(row: Row | None) -> User | None:
    if row is None:
        return None
    fields = {name: row[name] for name in ("id", "username", "email", "password_hash", "epoch", "created_at")}
    return User(
        **fields,
        password_changed_at=row["password_changed_at"],
        roles=tuple(row["roles"]),
        disabled=row["disabled_at"] is not None,
    )
