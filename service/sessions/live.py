"""A live session, as its row tells it to whoever mints its tokens."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Live:
    """A session that was begun or goes on. All callers that present one refresh token get the same `jti` and times."""

    session_id: UUID
    jti: UUID
    generation: int
    refreshed_at: datetime
    expires_at: datetime
    started_at: datetime
    amr: tuple[str, ...]
    scopes: frozenset[str]
    resources: tuple[str, ...]
    client_epoch: int
    user_id: UUID
    user_epoch: int
    roles: tuple[str, ...]
    replayed: bool = False
    """Whether this is the answer of a rotation that was made before, once more."""
