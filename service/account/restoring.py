"""After a restore: the record has forgotten what was revoked since the backup, so nothing from before may count."""

from datetime import timedelta

from service import audit
from service.catalog import changed
from service.clients import store as clients
from service.revocation import Revocation, Revocations
from service.sessions.carrying import carry_over

LEAP = 1_000_000
"""How far every client's epoch is raised: beyond any that was given, and forgotten, since the backup."""


async def begin_anew(revocations: Revocations, lifetime: timedelta, *, keep_sessions: bool) -> None:
    """Kill every access token made until now, and end every session. The new timeline must have begun before.

    With `keep_sessions` those go on that the restored record has, the ones that were ended since the backup
    among them.
    """
    async with revocations.transaction() as revoking:
        leapt = await clients.leap(revoking.db, LEAP)
        await changed(revoking.db)
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
