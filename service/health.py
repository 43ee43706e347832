"""Liveness, and readiness with each part named."""

import asyncio
import time
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from service.database import Database
from service.documentation import RETRY_AFTER, STRING, json_answer, members
from service.draining import Drain
from service.errors import NO_STORE, Unavailable
from service.guessing import Guesses
from service.http import answer
from service.keeping import Keeper
from service.revocation import Revocations
from service.routing import PlainRoute
from service.schema import problem as schema_problem
from service.signing import KeyRingWatcher

SHARED_FOR = 0.5
"""Seconds for which one look at Postgres answers whoever asks: anybody may, and as often as they like."""


class PostgresLook:
    """What the last look at Postgres found; however many ask at once, they share one."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = asyncio.Lock()
        self._looked_at = float("-inf")
        self._problem: str | None = None

    async def problem(self) -> str | None:
        """Say what is wrong with Postgres; None if nothing is."""
        async with self._lock:
            if time.monotonic() - self._looked_at > SHARED_FOR:
                self._problem = await self._look()
                self._looked_at = time.monotonic()
            return self._problem

    async def _look(self) -> str | None:
        try:
            async with self._database.connect() as db:
                return await schema_problem(db)
        except Unavailable:
            return "Postgres cannot be reached"


def routes(
    database: Database,
    revocations: Revocations,
    guesses: Guesses,
    keys: KeyRingWatcher,
    keeper: Keeper,
    drain: Drain,
) -> APIRouter:
    """Return /healthz and /readyz. Both are open: they tell no more than which part is down."""
    postgres = PostgresLook(database)

    async def healthz(_: Request) -> Response:
        return answer({"status": "ok"})

    async def readyz(_: Request) -> Response:
        parts = {
            "postgres": await postgres.problem(),
            "redis": revocations.problem or guesses.problem,
            "keys": _keys_problem(keys, keeper),
        }
        # Without Redis the service goes on, more slowly; it is told, and it is no reason to be taken out.
        # One that lacks a key would refuse what the others sign.
        ready = parts["postgres"] is None and not keeper.lacking and not drain.begun
        body: dict[str, Any] = {
            "status": "draining" if drain.begun else "ready" if ready else "not ready",
            "parts": {name: {"ok": problem is None, "problem": problem} for name, problem in parts.items()},
        }
        if keeper.note is not None:
            body["parts"]["keys"]["note"] = keeper.note
        return JSONResponse(
            body, 200 if ready else 503, NO_STORE if ready else {**NO_STORE, "Retry-After": "1"}
        )

    router = APIRouter(route_class=PlainRoute, tags=["health"])
    router.get(
        "/healthz",
        summary="Is the process alive?",
        responses={200: json_answer("It is", members("status", status=STRING), {"status": "ok"})},
    )(healthz)
    router.get(
        "/readyz",
        summary="Can it do its work? Postgres, Redis and the key ring, each named",
        description="503 while Postgres is away or its schema too old, while this replica lacks a key that others "
        "publish, and while the service is stopping. Redis may be away: the service goes on with Postgres alone. "
        "`problem` says what is wrong.",
        responses={
            200: json_answer("It can", _SCHEMA, _READY),
            503: json_answer(
                "Not now; `parts` names the reason", _SCHEMA, _NOT_READY, RETRY_AFTER["headers"]
            ),
        },
    )(readyz)
    return router


def _keys_problem(keys: KeyRingWatcher, keeper: Keeper) -> str | None:
    if keeper.lacking:
        lacks = f"this replica lacks {' and '.join(keeper.lacking)}, which others publish"
        return lacks if keys.problem is None else f"{lacks}: {keys.problem}"
    return keys.problem


_READY: dict[str, Any] = {
    "status": "ready",
    "parts": {name: {"ok": True, "problem": None} for name in ("postgres", "redis", "keys")},
}
_NOT_READY: dict[str, Any] = {
    "status": "not ready",
    "parts": {**_READY["parts"], "postgres": {"ok": False, "problem": "Postgres cannot be reached"}},
}
# Of an example FastAPI leaves out what is null: `problem` cannot be required.
_PART = members("ok", ok={"type": "boolean"}, problem={"type": ["string", "null"]}, note=STRING)
_SCHEMA = members(
    "status",
    "parts",
    status={"type": "string", "enum": ["ready", "not ready", "draining"]},
    parts=members("postgres", "redis", "keys", postgres=_PART, redis=_PART, keys=_PART),
)
