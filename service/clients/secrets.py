"""The secrets of a client: one, or two while it changes from the older to the younger without a break."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from service.clients.tables import NO_SECRET
from service.database import Row

MOST = 2


@dataclass(frozen=True, slots=True)
class Secret:
    """A live secret, as far as it is known here."""

    digest: bytes = field(repr=False)
    made_at: datetime

    @property
    def fingerprint(self) -> str:
        """Names it among the client's: the beginning of its SHA-256, of which nobody learns anything."""
        return self.digest.hex()[:8]


def of(row: Row) -> list[Secret]:
    """Return the live secrets in a client's row, the older first."""
    first, second = row["secret_sha256"], row["second_secret_sha256"]
    found = []
    if first not in {None, NO_SECRET}:
        found.append(Secret(first, row["secret_made_at"] or row["created_at"]))
    if second is not None:
        found.append(Secret(second, row["second_secret_made_at"]))
    return found


def columns(live: Sequence[Secret], *, confidential: bool) -> dict[str, Any]:
    """Return what the row holds of these secrets. The older is where the release before looks for the one."""
    assert len(live) <= MOST, "a client has two secrets at the most"
    older, younger = [*live, None, None][:2]
    return {
        "secret_sha256": older.digest if older else NO_SECRET if confidential else None,
        "secret_made_at": older and older.made_at,
        "second_secret_sha256": younger and younger.digest,
        "second_secret_made_at": younger and younger.made_at,
    }


def made_now(digest: bytes) -> Secret:
    """Return a secret that is made at this moment."""
    return Secret(digest, datetime.now(UTC))
