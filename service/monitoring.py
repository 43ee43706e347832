"""GET /metrics on the main port, and the gauges: what is looked at from time to time instead of counted."""

import asyncio
import logging
import math
import time

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from service import metrics
from service.background import Background
from service.database import Database
from service.documentation import STRING, UNCACHED, unauthorized
from service.errors import NO_STORE, BearerError, Unavailable
from service.guessing import Guesses
from service.http import authorization
from service.metrics import Cells, Exposition
from service.revocation import Revocations
from service.routing import PlainRoute
from service.signing import KeyRingWatcher
from service.users.passwords import Passwords

log = logging.getLogger("sealwright")

INTERVAL = 1.0
"""Seconds from look to look at what this process knows."""

COUNT_EVERY = 15
"""Looks from one counting of the revocations to the next: that asks Postgres."""


class Gauges:
    """Sets this worker's gauges, again and again."""

    def __init__(
        self,
        counts: metrics.Metrics,
        database: Database,
        revocations: Revocations,
        keys: KeyRingWatcher,
        passwords: Passwords,
        guesses: Guesses,
    ) -> None:
        self._seat = counts.seat
        self._database = database
        self._revocations = revocations
        self._keys = keys
        self._passwords = passwords
        self._guesses = guesses
        self._queue = self._seat.cell(metrics.HASH_QUEUE)
        self._pool = Cells(self._seat, metrics.POOL)
        self._pool_size = self._seat.cell(metrics.POOL_SIZE)
        self._trusted = self._seat.cell(metrics.REDIS_TRUSTED)
        self._shared = self._seat.cell(metrics.COUNTED_SHARED)
        self._number = self._seat.cell(metrics.RECORD_NUMBER)
        self._lag = self._seat.cell(metrics.MARKER_LAG)
        self._entries = self._seat.cell(metrics.BLOCKLIST)
        self._key = Cells(self._seat, metrics.KEY)
        self._key_age = Cells(self._seat, metrics.KEY_AGE)
        self._key_change = self._seat.cell(metrics.KEY_CHANGE)
        self._background = Background()

    async def start(self) -> None:
        """Set them once, and go on until `stop`."""
        await self._look(counting=True)
        self._background.start(self._follow(), "gauges")

    async def stop(self) -> None:
        """Stop, and leave this worker's seat."""
        await self._background.stop()
        self._seat.close()

    async def _follow(self) -> None:
        looks = 0
        while True:
            await asyncio.sleep(INTERVAL)
            looks += 1
            try:
                await self._look(counting=looks % COUNT_EVERY == 0)
            except Exception:
                log.exception("the gauges could not be set; trying again")

    async def _look(self, *, counting: bool) -> None:
        self._seat.beat()
        self._queue.set(self._passwords.taken)
        lent, idle = self._database.connections()
        self._pool["used",].set(lent)
        self._pool["idle",].set(idle)
        self._pool_size.set(self._database.size)
        self._trusted.set(self._revocations.problem is None)
        self._shared.set(self._guesses.problem is None)
        self._number.set(self._revocations.number)
        lag = self._revocations.lag
        self._lag.set(math.nan if lag is None else lag)
        self._look_at_keys(time.time())
        if counting:
            try:
                self._entries.set(await self._revocations.count())
            except Unavailable:
                self._entries.set(math.nan)

    def _look_at_keys(self, now: float) -> None:
        ring = self._keys.ring
        active = ring.active_kid(now)
        for series in (*self._key.values(), *self._key_age.values()):
            series.set(math.nan)
        for key in self._keys.status:
            if key.kid in ring.published or key.state == "compromised":
                self._key[key.kid, key.state].set(1)
        self._key_age[active,].set(now - ring.signing_since(now))
        self._key_change.set(math.nan if ring.changes_at is None else ring.changes_at)


def routes(exposition: Exposition) -> APIRouter:
    """Return /metrics."""

    async def scrape(request: Request) -> Response:
        if not exposition.allows(authorization(request)):
            raise BearerError("invalid_token", "this takes the token in SEALWRIGHT_METRICS_TOKEN")
        text, content_type = exposition.text(request.headers.get("accept", ""))
        return Response(text, headers={**NO_STORE, "Content-Type": content_type})

    router = APIRouter(route_class=PlainRoute, tags=["health"])
    router.get(
        "/metrics",
        name="metrics",
        summary="The Prometheus series",
        description="Of all workers of this replica, for whoever bears the token in SEALWRIGHT_METRICS_TOKEN. Without "
        "one there is nothing here.",
        responses={
            200: {
                "headers": UNCACHED,
                "content": {
                    "text/plain": {"schema": STRING, "example": "sealwright_workers 4.0"},
                    "application/openmetrics-text": {"schema": STRING},
                },
            },
            401: unauthorized(
                "The token is another one",
                invalid_token="this takes the token in SEALWRIGHT_METRICS_TOKEN",  # noqa: S106  # words, no token
            ),
        },
        openapi_extra={"security": [{"bearer": []}]},
    )(scrape)
    return router
