"""Ending sessions: the row says when and why, and a revocation kills the access tokens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from service.audit import record as audit
from service.audit import record_ends
from service.database import Connection, Statement, Time, now
from service.revocation import Reason, Revocation, Revocations, Revoking
from service.sessions.sweeping import in_pages, pages
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

PAGES = 64
"""Pages looked at in one transaction: a few thousand sessions."""

_begins = sa.bindparam("begins", type_=Time)
_ends = sa.bindparam("ends", type_=Time)
_signed_last = sa.func.greatest(sessions.c.refreshed_at, sessions.c.replayed_at)
_end_signed_in = Statement(
    _mark.where(
        in_pages,
        sessions.c.expires_at > now(),
        sessions.c.refreshed_at <= _ends,
        _signed_last >= _begins,
    ).returning(
        sa.or_(_begins > now() - sa.bindparam("young", type_=sa.Interval), _signed_last >= _ends).label(
            "others"
        )
    )
)

_begun_before = Statement(
    sa.select(sessions.c.id)
    .where(
        sessions.c.id > sa.bindparam("after", type_=sa.Uuid),
        sessions.c.started_at < sa.bindparam("at", type_=Time),
        sessions.c.ended_at.is_(None),
        sessions.c.expires_at > now(),
    )
    .order_by(sessions.c.id)
    .limit(sa.bindparam("batch", type_=sa.Integer))
    .with_for_update()
)

_live = Statement(
    sa.select(sessions.c.id)
    .where(sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid), sessions.c.ended_at.is_(None))
    .with_for_update(read=True)
)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """When a key signed refresh tokens, with a margin for clocks; and how long an access token lives at most."""

    begins: datetime
    ends: datetime
    access_token_lifetime: timedelta


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
    await record_ends(db, ended, reason)
    return [row["id"] for row in ended]


async def end_signed_in(
    revocations: Revocations, window: SignedIn, reason: Reason, lifetime: timedelta
) -> int:
    """End the sessions whose live refresh token was signed within a window; return how many.

    What rotation changes has no index, so the table is walked page by page, a transaction each. The key that signed
    then is not taken any more, so no session can be refreshed past us meanwhile.
    """
    ended = page = 0
    while True:
        async with revocations.transaction() as revoking:
            if page >= await pages(revoking.db):
                return ended
            rows = await revoking.db.rows(
                _end_signed_in,
                reason=reason,
                first=page,
                beyond=page + PAGES,
                begins=window.begins,
                ends=window.ends,
                young=window.access_token_lifetime,
            )
            # The key's own tokens are dead already; here go those of the keys before and after it.
            revoking.revoke(
                *(Revocation("sid", str(row["id"]), reason, lifetime) for row in rows if row["others"])
            )
            await record_ends(revoking.db, rows, reason)
        ended += len(rows)
        page += PAGES


async def end_before(
    db: Connection, at: datetime, reason: Reason, after: UUID, batch: int
) -> tuple[int, UUID | None]:
    """End the first `batch` sessions that began before a moment, of those whose ids come after `after`.

    Return how many, and the last id to go on from; None once all are done. Their access tokens must be dead already.
    """
    ids = [row["id"] for row in await db.rows(_begun_before, at=at, after=after, batch=batch)]
    ended = await db.rows(_end_many, ids=ids, reason=reason)
    await record_ends(db, ended, reason)
    return len(ended), ids[-1] if ids else None


async def is_live_in(revoking: Revoking, session_id: UUID) -> bool:
    """Whether a session has not ended; it does not until this transaction is over."""
    return await revoking.db.row(_live, session_id=session_id) is not None
