"""Starting a session: the row is inserted only if nothing was taken back since the sign-in began."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import sqlalchemy as sa

from service.audit import record as audit
from service.clients.tables import clients
from service.database import Database, Statement, TextArray, Time, now
from service.sessions.live import Live
from service.sessions.tables import sessions
from service.users.tables import users

MAX_USER_AGENT = 256


@dataclass(frozen=True, slots=True)
class SignIn:
    """What a sign-in has proved, and the state of user and client that it was proved against."""

    user_id: UUID
    user_epoch: int
    password_changed_at: datetime
    client_id: str
    client_epoch: int
    roles: tuple[str, ...]
    amr: tuple[str, ...]
    scopes: frozenset[str]
    resources: tuple[str, ...]
    address: str | None
    user_agent: str | None


# FOR SHARE waits for whoever is changing the user right now, and then looks again. What was changed
# (signed out everywhere, disabled, demoted, another password) leaves no row to insert from.
_from_user = (
    sa.select(
        sa.bindparam("session_id", type_=sa.Uuid),
        users.c.id,
        clients.c.id,
        clients.c.epoch,
        now(),
        now() + sa.bindparam("lifetime", type_=sa.Interval),
        sa.bindparam("amr", type_=TextArray),
        sa.bindparam("scopes", type_=TextArray),
        sa.bindparam("resources", type_=TextArray),
        sa.bindparam("address", type_=sa.Text),
        sa.bindparam("user_agent", type_=sa.Text),
        sa.bindparam("jti", type_=sa.Uuid),
        now(),
        now() + sa.bindparam("idle", type_=sa.Interval),
    )
    .where(
        users.c.id == sa.bindparam("user_id", type_=sa.Uuid),
        users.c.epoch == sa.bindparam("user_epoch", type_=sa.BigInteger),
        users.c.password_changed_at == sa.bindparam("password_changed_at", type_=Time),
        users.c.disabled_at.is_(None),
        clients.c.id == sa.bindparam("client_id"),
        clients.c.epoch == sa.bindparam("client_epoch", type_=sa.BigInteger),
        clients.c.disabled_at.is_(None),
    )
    .with_for_update(read=True, of=users)
)
_start = Statement(
    sa.insert(sessions)
    .from_select(
        [
            "id",
            "user_id",
            "client_id",
            "client_epoch",
            "started_at",
            "ends_at",
            "amr",
            "scopes",
            "resources",
            "address",
            "user_agent",
            "jti",
            "refreshed_at",
            "expires_at",
        ],
        _from_user,
    )
    .returning(sessions.c.started_at, sessions.c.expires_at)
)


async def start(database: Database, sign_in: SignIn, *, idle: timedelta, lifetime: timedelta) -> Live | None:
    """Begin a session. None: the user or the client changed since the sign-in began, so it is not finished."""
    session_id, jti = uuid4(), uuid4()
    async with database.transaction() as db:
        row = await db.row(
            _start,
            session_id=session_id,
            jti=jti,
            user_id=sign_in.user_id,
            user_epoch=sign_in.user_epoch,
            password_changed_at=sign_in.password_changed_at,
            client_id=sign_in.client_id,
            client_epoch=sign_in.client_epoch,
            amr=list(sign_in.amr),
            scopes=sorted(sign_in.scopes),
            resources=list(sign_in.resources),
            address=sign_in.address,
            user_agent=sign_in.user_agent and sign_in.user_agent[:MAX_USER_AGENT],
            lifetime=lifetime,
            idle=min(idle, lifetime),
        )
        if row is None:
            return None
        await audit(
            db,
            "session.started",
            user_id=sign_in.user_id,
            client_id=sign_in.client_id,
            session_id=session_id,
            address=sign_in.address,
            user_agent=sign_in.user_agent,
            detail=" ".join(sign_in.amr),
        )
    return Live(
        session_id=session_id,
        jti=jti,
        generation=0,
        refreshed_at=row["started_at"],
        expires_at=row["expires_at"],
        started_at=row["started_at"],
        amr=sign_in.amr,
        scopes=sign_in.scopes,
        resources=sign_in.resources,
        client_epoch=sign_in.client_epoch,
        user_id=sign_in.user_id,
        user_epoch=sign_in.user_epoch,
        roles=sign_in.roles,
    )
