"""What anybody can bring about, such as failed sign-ins: told soon, by few rows, however often it happens.

Anybody can fail to sign in as fast as the network allows. Each worker therefore counts, and every few seconds
tells what it counted: a row for each user and origin, and beyond `MOST` of these one row for all the rest.
"""

import asyncio
import logging
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from service.audit.recording import Event, record
from service.background import Background
from service.database import Database
from service.errors import Unavailable

log = logging.getLogger("sealwright")

INTERVAL = 10.0
"""Seconds for which failures are counted before they are told; a worker that is killed loses these."""
MOST = 8
"""Rows of one interval, and one for the rest: at most 3,240 rows an hour, worker and event."""

Why = Literal["unknown user", "wrong password", "disabled user"]


@dataclass(frozen=True, slots=True)
class Failure:
    """What failed. The name that was typed is not kept: it may be a password."""

    why: str
    user_id: UUID | None
    client_id: str | None
    address: str | None


class Failures:
    """One worker's count of one kind of event."""

    def __init__(self, database: Database, event: Event) -> None:
        self._database = database
        self._event: Event = event
        self._counted: dict[Failure, int] = {}
        self._rest = 0
        self._background = Background()

    async def start(self) -> None:
        """Begin to tell in the background."""
        self._background.start(self._work(), self._event)

    async def stop(self) -> None:
        """Tell what is left, if Postgres is there."""
        await self._background.stop()
        await self._tell_or_keep()

    def note(self, failure: Failure) -> None:
        """Count a failure."""
        if failure in self._counted or len(self._counted) < MOST:
            self._counted[failure] = self._counted.get(failure, 0) + 1
        else:
            self._rest += 1

    async def tell(self) -> None:
        """Append what was counted.

        Raises:
            Unavailable: Postgres is away; the count goes on.
        """
        counted, rest = list(self._counted.items()), self._rest
        if not counted:
            return
        async with self._database.transaction() as db:
            for failure, times in counted:
                await record(
                    db,
                    self._event,
                    user_id=failure.user_id,
                    client_id=failure.client_id,
                    address=failure.address,
                    detail=failure.why,
                    times=times,
                )
            if rest:
                await record(db, self._event, detail="others, too many to tell apart", times=rest)
        for failure, times in counted:
            if times == self._counted[failure]:
                del self._counted[failure]
            else:
                self._counted[failure] -= times
        self._rest -= rest

    async def _work(self) -> None:
        while True:
            await asyncio.sleep(INTERVAL)
            await self._tell_or_keep()

    async def _tell_or_keep(self) -> None:
        try:
            await self.tell()
        except Unavailable as error:
            log.debug("%s is told later: %s", self._event, error.detail)
        except Exception:
            log.exception("%s could not be told; trying again", self._event)
