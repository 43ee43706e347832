"""Letting somebody in at once: an operator's way to have what was counted forgotten."""

from collections.abc import Collection

from service.guessing.names import Names
from service.guessing.shared import ANY, SharedCounts, named
from service.settings import Settings


async def lift(
    settings: Settings,
    *,
    usernames: Collection[str] = (),
    client_id: str | None = None,
    address: str | None = None,
) -> int:
    """Forget what failed for these accounts or this client, or at this address; return how many counts there were.

    Given an address as well, only what failed from there. Counts of workers that cannot reach Redis stay.

    Raises:
        redis.RedisError, OSError: Redis cannot be reached.
    """
    names = Names(settings)
    subjects = [named("account", names.account(username)) for username in usernames]
    if client_id is not None:
        subjects.append(named("client", names.client(client_id)))
    place = ANY if address is None else names.address(address)
    shared = SharedCounts(settings)
    try:
        return sum([await shared.lift(place, subject) for subject in subjects or [ANY]])
    finally:
        await shared.close()
