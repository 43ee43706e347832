"""Moving a ring from one store to the other, while the services go on with either.

First nobody may change it where it was, then it is written where it goes; reading goes on in both, so every replica
signs and verifies with the same keys, whichever store it has been told of. A key that is made after that signs only
once every live replica publishes it, and so once all have been restarted.
"""

from service.signing.entries import KeyRingError
from service.signing.store import Store


async def move(source: Store, target: Store) -> int:
    """Move the ring; return how many keys it has. What was interrupted may be done again.

    Raises:
        KeyRingError: there is none, or another one where it goes.
        Unavailable: Postgres is away.
    """
    contents = await source.hand_over(target.name)
    try:
        await target.receive(contents)
    except KeyRingError:
        await source.hand_over(None)
        raise
    return len(contents.entries)
