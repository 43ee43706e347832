"""Many user rows in one statement: those of another system."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from service.database import Connection, Statement, TextArray, now
from service.users.tables import users


@dataclass(frozen=True, slots=True)
class Incoming:
    """A user as another system knows it; None where it says nothing."""

    username: str
    email: str | None
    roles: tuple[str, ...] | None
    disabled: bool | None
    password_hash: str | None = field(repr=False)


@dataclass(frozen=True, slots=True)
class Updated:
    """A user that was there already and is now as the other system says. `raised`: its tokens are to be revoked."""

    id: UUID
    dead_below: int | None
    raised: bool


_given = (
    sa.func.unnest(
        sa.bindparam("usernames", type_=TextArray),
        sa.bindparam("emails", type_=TextArray),
        # An array of arrays of different lengths is none in SQL; and no role has a space in its name.
        sa.bindparam("roles", type_=TextArray),
        sa.bindparam("disabled", type_=ARRAY(sa.Boolean)),
        sa.bindparam("hashes", type_=TextArray),
    )
    .table_valued("username", "email", "roles", "disabled", "hash")
    .render_derived()
)
_roles = sa.func.string_to_array(_given.c.roles, " ", type_=TextArray)
_add = Statement(
    insert(users)
    .from_select(
        ["username", "email", "roles", "disabled_at", "password_hash"],
        sa.select(
            _given.c.username,
            _given.c.email,
            sa.func.coalesce(_roles, sa.text("'{}'")),
            sa.case((_given.c.disabled, now())),
            _given.c.hash,
        ),
    )
    .on_conflict_do_nothing(index_elements=["username"])
    .returning(users.c.id)
)

_new_roles = sa.func.coalesce(_roles, users.c.roles)
_new_disabled = sa.func.coalesce(_given.c.disabled, users.c.disabled_at.is_not(None))
# A hash of ours is what the user has here since a sign-in or a change; the other system's is older than that.
_takes_hash = sa.and_(
    _given.c.hash.is_not(None),
    users.c.password_hash.is_distinct_from(_given.c.hash),
    sa.or_(users.c.password_hash.is_(None), users.c.password_hash.not_like("$argon2id$%")),
)
_raised = sa.or_(
    _new_roles.is_distinct_from(users.c.roles), _new_disabled != users.c.disabled_at.is_not(None)
)
_update = Statement(
    sa.update(users)
    .values(
        email=sa.func.coalesce(_given.c.email, users.c.email),
        roles=_new_roles,
        disabled_at=sa.case((_new_disabled, sa.func.coalesce(users.c.disabled_at, now()))),
        password_hash=sa.case((_takes_hash, _given.c.hash), else_=users.c.password_hash),
        password_changed_at=sa.case((_takes_hash, now()), else_=users.c.password_changed_at),
        epoch=users.c.epoch + sa.case((_raised, 1), else_=0),
    )
    .where(
        users.c.username == _given.c.username,
        sa.or_(
            _raised,
            _takes_hash,
            sa.func.coalesce(_given.c.email, users.c.email).is_distinct_from(users.c.email),
        ),
    )
    .returning(
        users.c.id,
        sa.case((users.c.disabled_at.is_(None), users.c.epoch)).label("dead_below"),
        # What it was before is gone by now; so everything that was touched is told, and revoked if in doubt.
        sa.or_(_given.c.roles.is_not(None), _given.c.disabled.is_not(None)).label("raised"),
    )
)


async def add(db: Connection, incoming: Sequence[Incoming]) -> list[UUID]:
    """Insert those whose username is not there yet; return their ids.

    What a constraint refuses is an `asyncpg.IntegrityConstraintViolationError`.
    """
    return [row["id"] for row in await db.rows(_add, **_columns(incoming))]


async def update(db: Connection, incoming: Sequence[Incoming]) -> list[Updated]:
    """Bring those that are there already to what is said of them; return those that changed. Raises as `add`."""
    return [Updated(**row) for row in await db.rows(_update, **_columns(incoming))]


def _columns(incoming: Sequence[Incoming]) -> dict[str, object]:
    return {
        "usernames": [each.username for each in incoming],
        "emails": [each.email for each in incoming],
        "roles": [None if each.roles is None else " ".join(each.roles) for each in incoming],
        "disabled": [each.disabled for each in incoming],
        "hashes": [each.password_hash for each in incoming],
    }
