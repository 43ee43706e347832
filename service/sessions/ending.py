"""Ending sessions: the row says when and why, and a revocation kills the access tokens."""

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.audit import record as audit
from service.audit import record_ends
from service.database import Statement, now
from service.revocation import Reason, Revocation, Revoking
from service.sessions.tables import sessions

_mark = (
    sa.update(sessions)
    .values(ended_at=now(), end_reason=sa.bindparam("reason"))
    .where(sessions.c.ended_at.is_(None))
    .returning(sessions.c.id, sessions.c.user_id, sessions.c.client_id)
)
_end = Statement(_mark.where(sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid)))

# Locked in the order of their ids, so that two that end the same rows do not wait for each other.
_of_user = (
    sa.select(sessions.c.id)
    .where(
        sessions.c.user_id == sa.bindparam("user_id", type_=sa.Uuid),
        sessions.c.id.is_distinct_from(sa.bindparam("spared", type_=sa.Uuid)),
        sessions.c.ended_at.is_(None),
    )
    .order_by(sessions.c.id)
    .with_for_update()
)
_lock_of_user = Statement(_of_user)
_end_many = Statement(_mark.where(sessions.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Uuid)))))

_live = Statement(
    sa.select(sessions.c.id)
    .where(sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid), sessions.c.ended_at.is_(None))
    .with_for_update(read=True)
)


async def end_in(
    revoking: Revoking, session_id: UUID, reason: Reason, lifetime: timedelta, *, address: str | None = None
) -> bool:
    """End one session; its access tokens are dead with the commit. False: it had ended before."""
    row = await revoking.db.row(_end, session_id=session_id, reason=reason)
    if row is None:
        return False
    revoking.revoke(Revocation("sid", str(session_id), reason, lifetime))
    await audit(
        revoking.db,
        "session.ended",
        user_id=row["user_id"],
        client_id=row["client_id"],
        session_id=session_id,
        address=address,
        detail=reason,
    )
    return True


async def end_others_in(
    revoking: Revoking, user_id: UUID, spared: UUID | None, reason: Reason, lifetime: timedelta
) -> list[UUID]:
    """End every session of a user but one, each by its own `sid`."""
    ended = await end_rows_in(revoking, user_id, reason, spared=spared)
    revoking.revoke(*(Revocation("sid", str(id_), reason, lifetime) for id_ in ended))
    return ended


async def end_rows_in(
    revoking: Revoking, user_id: UUID, reason: Reason, *, spared: UUID | None = None
) -> list[UUID]:
    """Mark a user's sessions as ended, where one revocation of the user kills all their access tokens.

    The user's row must have been changed before in the same transaction: that makes a sign-in or a
    refresh that is under way either come first and be found here, or see the change.
    """
    db = revoking.db
    ids = [row["id"] for row in await db.rows(_lock_of_user, user_id=user_id, spared=spared)]
    ended = await db.rows(_end_many, ids=ids, reason=reason)
    await record_ends(db, user_id, [(row["id"], row["client_id"]) for row in ended], reason)
    return [row["id"] for row in ended]


async def is_live_in(revoking: Revoking, session_id: UUID) -> bool:
    """Whether a session has not ended; it does not until this transaction is over."""
    return await revoking.db.row(_live, session_id=session_id) is not None
