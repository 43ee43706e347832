"""Looking at sessions: a user's own, an operator's, and whether a refresh token is still good."""

from uuid import UUID

import sqlalchemy as sa

from service.clients.tables import clients
from service.database import Connection, Row, Statement, now
from service.sessions.rules import SessionState
from service.sessions.tables import sessions
from service.users.tables import users

MOST_SESSIONS = 500
"""Listed to a user, the newest first; nobody reads on."""

_alive = sa.and_(
    sessions.c.ended_at.is_(None),
    sessions.c.expires_at > now(),
    sessions.c.client_epoch == clients.c.epoch,
)

_columns = (
    sessions.c.id.label("sid"),
    sessions.c.client_id,
    clients.c.name.label("client_name"),
    users.c.username,
    sessions.c.started_at,
    sessions.c.refreshed_at,
    sessions.c.expires_at,
    sessions.c.ends_at,
    sessions.c.generation,
    sessions.c.replays,
    sessions.c.replayed_at,
    sessions.c.amr,
    sessions.c.scopes,
    sessions.c.address,
    sessions.c.user_agent,
    sessions.c.ended_at,
    sessions.c.end_reason,
    _alive.label("alive"),
)
_joined = (
    sa.select(*_columns)
    .join(users, users.c.id == sessions.c.user_id)
    .join(clients, clients.c.id == sessions.c.client_id)
    .order_by(sessions.c.started_at.desc())
)
_of_user = Statement(
    _joined.where(sessions.c.user_id == sa.bindparam("user_id", type_=sa.Uuid), _alive).limit(MOST_SESSIONS)
)
_all = Statement(
    _joined.where(
        sa.or_(
            sa.bindparam("username", type_=sa.Text).is_(None),
            users.c.username == sa.bindparam("username", type_=sa.Text),
        ),
        sa.or_(sa.bindparam("ended", type_=sa.Boolean), _alive),
    ).limit(sa.bindparam("limit", type_=sa.Integer))
)
_story = Statement(
    _joined.add_columns(clients.c.refresh_grace).where(
        sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid)
    )
)
_owner = Statement(
    sa.select(sessions.c.user_id).where(sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid))
)
_state = Statement(
    sa.select(
        sessions.c.jti,
        sessions.c.previous_jti,
        sessions.c.refreshed_at,
        sessions.c.expires_at,
        sessions.c.ended_at,
        now().label("now"),
        users.c.username,
    )
    .join(users, users.c.id == sessions.c.user_id)
    .join(clients, clients.c.id == sessions.c.client_id)
    .where(
        sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid),
        sessions.c.client_id == sa.bindparam("client_id"),
        sessions.c.client_epoch == clients.c.epoch,
        users.c.disabled_at.is_(None),
        clients.c.disabled_at.is_(None),
    )
)


async def of_user(db: Connection, user_id: UUID) -> list[Row]:
    """Return the live sessions of a user, the newest first."""
    return await db.rows(_of_user, user_id=user_id)


async def listed(db: Connection, *, username: str | None, ended: bool, limit: int) -> list[Row]:
    """Return sessions, of everybody or of one user, the ended ones too if asked for."""
    return await db.rows(_all, username=username, ended=ended, limit=limit)


async def story(db: Connection, session_id: UUID) -> Row | None:
    """Return one session as `listed` has it, with its client's own grace period; None if there is no such session."""
    return await db.row(_story, session_id=session_id)


async def owner(db: Connection, session_id: UUID) -> UUID | None:
    """Return the id of the user whose session it is; None if there is no such session."""
    found: UUID | None = await db.value(_owner, session_id=session_id)
    return found


async def state(db: Connection, session_id: UUID, client_id: str) -> Row | None:
    """Return what decides about a refresh token of this session, with Postgres's `now`.

    None where nothing could save it: the user or the client is gone or disabled.
    """
    return await db.row(_state, session_id=session_id, client_id=client_id)


def session_state(row: Row) -> SessionState:
    """Take from a row what the rules need."""
    return SessionState(
        row["jti"], row["previous_jti"], row["refreshed_at"], row["expires_at"], row["ended_at"]
    )
