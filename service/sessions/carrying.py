"""Carrying sessions over a leap of their clients' epochs."""

import sqlalchemy as sa

from service.database import Connection, Statement, now
from service.sessions.tables import sessions

_live = (
    sa.select(sessions.c.id)
    .where(sessions.c.ended_at.is_(None), sessions.c.expires_at > now())
    .order_by(sessions.c.id)
    .with_for_update()
)
_carry = Statement(
    sa.update(sessions)
    .values(client_epoch=sessions.c.client_epoch + sa.bindparam("leap", type_=sa.BigInteger))
    .where(sessions.c.id.in_(_live))
)


async def carry_over(db: Connection, leap: int) -> None:
    """Let sessions go on though every client's epoch has been raised by `leap`; those that were over stay over."""
    await db.rows(_carry, leap=leap)
