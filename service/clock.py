"""Postgres's clock, told from here: for deadlines that the database itself holds us to."""

import time
from datetime import UTC, datetime, timedelta

_GOOD = 0.1  # seconds; an answer that took longer says little about the moment it was made
_OLD = 60.0


class DatabaseClock:
    """Turns moments of this process's monotonic clock into moments of Postgres's clock."""

    def __init__(self) -> None:
        self._offset: float | None = None
        self._observed_at = 0.0

    def observe(self, at: datetime, began: float, ended: float) -> None:
        """Take in what `clock_timestamp()` answered to a question asked between two monotonic moments."""
        if self._offset is None or ended - began < _GOOD or ended - self._observed_at > _OLD:
            self._offset = at.timestamp() - (began + ended) / 2
            self._observed_at = ended

    def at(self, monotonic: float) -> datetime:
        """Return Postgres's time at a monotonic moment; this machine's, before Postgres was ever asked."""
        offset = self._offset if self._offset is not None else time.time() - time.monotonic()
        return datetime.fromtimestamp(monotonic + offset, UTC)

    def after(self, monotonic: float, wait: timedelta) -> datetime:
        """Return Postgres's time so long after a monotonic moment."""
        return self.at(monotonic) + wait
