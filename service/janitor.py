"""Deletes what is over, a little at a time, in every worker; nobody schedules a job.

Storage does not grow: sessions leave some days after their end, revocations with the last token they
kill, client assertions that were used with their `exp`, audit events after their retention.
"""

import asyncio
import logging
import random
from datetime import timedelta

from service import audit
from service.background import Background
from service.clients import assertions
from service.database import Database
from service.errors import Unavailable
from service.revocation import record
from service.sessions import sweeping
from service.settings import Settings
from service.signing import replicas

log = logging.getLogger("sealwright")

BATCH = 500
REPLICAS_KEPT = timedelta(hours=1)
"""For operators: a worker that was killed can still be seen for so long."""

PAGES = 256
"""Pages of the sessions table looked at in one statement: 2 MiB."""


class Janitor:
    """One worker's share of the work. Two workers never wait for each other's rows."""

    def __init__(self, settings: Settings, database: Database) -> None:
        self._settings = settings
        self._database = database
        self._background = Background()

    async def start(self) -> None:
        """Begin to work in the background."""
        self._background.start(self._work(), "janitor")

    async def stop(self) -> None:
        """Stop; a statement under way is taken back."""
        await self._background.stop()

    async def _work(self) -> None:
        interval = self._settings.janitor_interval.total_seconds()
        while True:
            await asyncio.sleep(interval * random.uniform(0.5, 1))  # noqa: S311  # so that workers spread
            try:
                deleted = await self.round()
            except Unavailable:
                continue
            except Exception:
                log.exception("deleting what is over failed; trying again later")
            else:
                if deleted:
                    log.info("deleted %d rows that were over", deleted)

    async def round(self) -> int:
        """Delete what is over now; return how many rows that were."""
        deleted = 0
        while (gone := await self._revocations()) > 0:
            deleted += gone
        while (gone := await self._assertions()) > 0:
            deleted += gone
        while (gone := await self._audit()) > 0:
            deleted += gone
        async with self._database.connect() as db:
            deleted += await replicas.delete_dead(db, REPLICAS_KEPT)
        return deleted + await self._sessions()

    async def _revocations(self) -> int:
        async with self._database.connect() as db:
            return await record.delete_over(db, BATCH)

    async def _assertions(self) -> int:
        async with self._database.connect() as db:
            return await assertions.delete_over(db, BATCH)

    async def _audit(self) -> int:
        async with self._database.connect() as db:
            return await audit.delete_over(db, self._settings.audit_retention, BATCH)

    async def _sessions(self) -> int:
        # The table has no index on what rotation changes, so it is walked page by page, all of it in
        # each round, with a breath between: no scan of the whole, no lock on a live row.
        deleted = page = 0
        while True:
            async with self._database.connect() as db:
                pages = await sweeping.pages(db)
                if page >= pages:
                    return deleted
                deleted += await sweeping.sweep(db, page, page + PAGES, self._settings.session_retention)
            page += PAGES
            await asyncio.sleep(0.01)
