"""Declaring a key compromised: somebody else may have it, so nothing that it signed is believed any more.

The order is what makes it hold if the process dies half-way. First the ring: from then on the service drops the key
by itself, and the ring remembers what is left to do. Then the record: one transaction revokes the kid, for all who
ask or listen. Last the sessions, once no replica takes the key any more, so that none can be refreshed past us. Each
step may be done twice; a running replica finishes what a command has begun.
"""

import asyncio
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from service import audit
from service.database import Database
from service.revocation import Revocation, Revocations
from service.sessions import ending
from service.sessions.ending import SignedIn
from service.settings import Settings
from service.signing import Entry, KeyRingError, Policy, Store, changes, replicas, rules
from service.signing.replicas import Replica

REASON: Final = "key_compromised"


async def finish(revocations: Revocations, store: Store, settings: Settings, kid: str) -> int:
    """Do all that follows on the ring's having dropped a key; return how many sessions ended."""
    entries = store.parse(await store.read())
    entry = next((entry for entry in entries if entry.kid == kid), None)
    if entry is None or entry.compromised_at is None:
        raise KeyRingError(f"{kid} has not been declared compromised.")
    if entry.settled_at is not None:
        return 0  # done before; sessions that have begun under another key since are none of its business
    await declare(revocations, kid, Policy.of(settings))
    ended = await end_sessions(revocations, entries, entry, settings)
    await store.change(changes.settle(kid, datetime.now(UTC)))
    return ended


async def declare(revocations: Revocations, kid: str, policy: Policy) -> None:
    """Revoke everything that the key signed, for as long as any of it could live, and say so in the audit."""
    async with revocations.transaction() as revoking:
        await replicas.wait_to_declare(revoking.db)
        if not await revocations.has(revoking.db, "kid", kid):
            revoking.revoke(Revocation("kid", kid, REASON, policy.known_for))
            await audit.record(revoking.db, "key.compromised", detail=kid)


async def end_sessions(
    revocations: Revocations, entries: Sequence[Entry], entry: Entry, settings: Settings
) -> int:
    """End the sessions whose live refresh token the key signed: those last exchanged while it signed."""
    policy = Policy.of(settings)
    stop = rules.stops_at(entries, entry)
    if entry.signs_from is None or stop is None or stop <= entry.signs_from:
        return 0  # it never signed
    window = SignedIn(
        entry.signs_from - policy.pickup, stop + policy.pickup, settings.max_access_token_lifetime
    )
    return await ending.end_signed_in(revocations, window, REASON, settings.revocation_lifetime)


async def until_dropped(database: Database, settings: Settings, kid: str) -> tuple[int, list[Replica]]:
    """Wait until no live replica publishes the key; return how many live, and those that were too late."""
    policy = Policy.of(settings)
    silence = settings.key_watch_interval * rules.LOOKS_ALIVE
    deadline = time.monotonic() + max(2 * policy.pickup.total_seconds(), 2.0)
    while True:
        async with database.connect() as db:
            live = await replicas.live(db, silence)
        late = [replica for replica in live if kid in replica.kids]
        if not late or time.monotonic() > deadline:
            return len(live), late
        await asyncio.sleep(min(0.2, settings.key_watch_interval.total_seconds()))
