"""After a restore: the record has forgotten what was revoked since the backup, so nothing from before may count."""

from datetime import datetime, timedelta
from uuid import UUID

from service import audit
from service.catalog import restored
from service.clients import store as clients
from service.database import Database
from service.revocation import Revocation, Revocations
from service.sessions.carrying import carry_over
from service.sessions.ending import end_before

LEAP = 1_000_000
"""How far every client's epoch is raised: beyond any that was given, and forgotten, since the backup."""


BATCH = 500
"""Sessions marked in one transaction: nobody waits for longer than these take."""


async def begin_anew(revocations: Revocations, lifetime: timedelta, *, keep_sessions: bool) -> None:
    """Kill every access token made until now, and end every session. The new timeline must have begun before.

    With `keep_sessions` those go on that the restored record has, the ones that were ended since the backup
    among them. Without, they are over with the leap; `mark_sessions` then says so in their rows.
    """
    async with revocations.transaction() as revoking:
        leapt = await clients.leap(revoking.db, LEAP)
        await restored(revoking.db)
        if keep_sessions:
            await carry_over(revoking.db, LEAP)
        revoking.revoke(
            *(
                Revocation(
                    "client_id", row["id"], "restored", lifetime, None if row["disabled"] else row["epoch"]
                )
                for row in leapt
            )
        )
        await audit.record(
            revoking.db,
            "record.restored",
            detail="sessions were kept" if keep_sessions else "sessions were ended",
        )


async def mark_sessions(database: Database, before: datetime) -> int:
    """Write the end into the row of each session that began before a moment, for its story; return how many."""
    total, last = 0, UUID(int=0)
    while True:
        async with database.transaction() as db:
            ended, reached = await end_before(db, before, "restored", last, BATCH)
        total += ended
        if reached is None:
            return total
        last = reached
