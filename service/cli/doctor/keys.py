"""The key ring: readable, safe from others, with a key that signs, and not too old a one."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

from service import signing
from service.cli.doctor.checks import Check, fail, ok, warn
from service.cli.words import span
from service.settings import load_for_keys
from service.signing import files, rules

OLD = timedelta(days=180)


async def look() -> AsyncIterator[Check]:
    """Look at the ring as the service would load it."""
    settings, now = load_for_keys(), datetime.now(UTC)
    policy = signing.Policy.of(settings)
    try:
        ring = signing.load(settings.keys_dir, policy, now)
        entries = files.read_entries(settings.keys_dir)
    except signing.KeyRingError as error:
        says, _, remedy = str(error).partition(". ")
        yield fail("keys", says, remedy or "See: sealwright keys list")
        return
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


def published() -> set[str] | None:
    """Return the kids that the JWKS has to name; None if the ring cannot be read."""
    settings = load_for_keys()
    try:
        ring = signing.load(settings.keys_dir, signing.Policy.of(settings), datetime.now(UTC))
    except signing.KeyRingError:
        return None
    return set(ring.published)
