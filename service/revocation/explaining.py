"""Why a token is dead, for operators: the record knows the reason, the blocklist only the fact."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa

from sealwright import Claims
from service.database import Connection, Row, Statement
from service.revocation.entries import Kill, Kind, dead, subjects
from service.revocation.record import wanted
from service.revocation.tables import revocations


@dataclass(frozen=True, slots=True)
class Cause:
    """A revocation that kills a token."""

    kind: Kind
    reason: str
    revoked_at: datetime


_found = Statement(
    sa.select(revocations.c.kind, revocations.c.epoch, revocations.c.reason, revocations.c.revoked_at)
    .join(wanted, sa.and_(revocations.c.kind == wanted.c.kind, revocations.c.subject == wanted.c.subject))
    .order_by(revocations.c.number)
)


async def cause(db: Connection, claims: Claims) -> Cause | None:
    """Return the first revocation that kills an access token; None if it is not revoked.

    The record keeps a revocation a little longer than the tokens that it kills could live.
    """
    for row in await _rows(db, subjects(claims)):
        if dead(claims, [Kill(row["kind"], row["epoch"])]):
            return _cause(row)
    return None


async def cause_of_key(db: Connection, kid: str) -> Cause | None:
    """Return the revocation of a key, which kills every token of either kind that it signed; None if there is none."""
    rows = await _rows(db, (("kid", kid),))
    return _cause(rows[0]) if rows else None


async def _rows(db: Connection, named: Sequence[tuple[Kind, str]]) -> list[Row]:
    return await db.rows(_found, kinds=[kind for kind, _ in named], subjects=[name for _, name in named])


def _cause(row: Row) -> Cause:
    return Cause(row["kind"], row["reason"], row["revoked_at"])
