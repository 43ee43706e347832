"""The key ring: readable, safe from others, with a key that signs, and not too old a one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from service import signing
from service.cli.doctor.checks import Check, fail, ok, warn
from service.cli.ring import opened_ring
from service.cli.words import span
from service.errors import Unavailable
from service.signing import rules

OLD = timedelta(days=180)


async def look() -> AsyncIterator[Check]:
    """Look at the ring as the service would load it."""
    now = datetime.now(UTC)
    try:
        async with opened_ring() as own:
            ring = await signing.load(own.store, own.policy, now)
    except signing.KeyRingError as error:
        says, _, remedy = str(error).partition(". ")
        yield fail("keys", says, remedy or "See: sealwright keys list")
        return
    except Unavailable:
        yield warn(
            "keys", "not looked at: they are in Postgres, which cannot be reached", "See postgres, above"
        )
        return
    entries = ring.entries
    kid = ring.active_kid(now.timestamp())
    active = next(entry for entry in entries if entry.kid == kid)
    age = now - active.created_at
    says = f"{kid} ({active.key.alg}) signs, made {span(age.total_seconds())} ago; {len(ring.published)} in the JWKS"
    upcoming = rules.upcoming(entries, now)
    if upcoming is not None:
        says += f"; {upcoming.kid} is next"
    if age > OLD:
        yield warn("keys", says, "Run: sealwright keys rotate")
    else:
        yield ok("keys", says)


async def published() -> set[str] | None:
    """Return the kids that the JWKS has to name; None if the ring cannot be read."""
    try:
        async with opened_ring() as own:
            return set((await signing.load(own.store, own.policy, datetime.now(UTC))).published)
    except (signing.KeyRingError, Unavailable):
        return None
