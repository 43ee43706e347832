"""GET /revocations: what resource services need to refuse a revoked token on their own."""

import asyncio
import gzip
import json
import re
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from service.clients.authentication import Authenticator, presented, required
from service.clients.directory import READ_REVOCATIONS
from service.errors import BearerError, OAuthError, Problem
from service.http import accepts_gzip, authorization, caller_address, gone, matches
from service.introspection.documentation import REVOCATIONS
from service.revocation import Revocations
from service.revocation.feed import Cursor, Feed, Told
from service.routing import PlainRoute
from service.tokens.bearer import BearerGate

T = TypeVar("T")

MAX_WAIT = 60.0
"""The longest wait, in seconds, that a listener may ask for: proxies cut what is silent for longer."""

PACKED_FOR = 1.0
"""Seconds for which a snapshot is packed once, however many ask for it."""

_WORTH_PACKING = 1024

_SECONDS = re.compile(r"[0-9]{1,4}(\.[0-9]{1,3})?")


def routes(
    issuer: str, revocations: Revocations, authenticator: Authenticator, gate: BearerGate
) -> APIRouter:
    """Return the endpoint."""
    feed = revocations.feed
    snapshots = Snapshots(issuer, feed)

    async def revocation_feed(request: Request) -> Response:
        after, wait = _asked(request)
        await _admit(request)
        told = None if after is None else await _unless_gone(request, feed.changes(after, wait))
        if told is None:
            return await snapshots.answer(request)
        return Response(
            _body(issuer, told), media_type="application/json", headers={"Cache-Control": "no-store"}
        )

    async def _admit(request: Request) -> None:
        header = authorization(request)
        if header is None:
            raise BearerError(
                None,
                f"send a client's Basic credentials, or an access token with the scope {READ_REVOCATIONS}",
            )
        if header[:7].lower() == "bearer ":
            await gate.admit(request, READ_REVOCATIONS)
            return
        client = await authenticator.authenticate(
            required(presented(header, {})), caller_address(request), for_tokens=False
        )
        if not client.confidential:
            raise OAuthError("invalid_client", "the feed takes a confidential client")

    router = APIRouter(route_class=PlainRoute, tags=["tokens"])
    router.get("/revocations", **REVOCATIONS)(revocation_feed)
    return router


def _asked(request: Request) -> tuple[Cursor | None, float]:
    after, wait = request.query_params.get("after"), request.query_params.get("wait", "0")
    if not _SECONDS.fullmatch(wait) or float(wait) > MAX_WAIT:
        raise Problem(f"wait is a number of seconds from 0 to {MAX_WAIT:.0f}", status=400)
    cursor = None if after is None else Cursor.parse(after)
    if after is not None and cursor is None:
        raise Problem("after is no cursor of this feed; leave it out to begin with a snapshot", status=400)
    return cursor, float(wait)


async def _unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Do the work, unless the listener hangs up before it is done: it would be held for nobody."""
    working, leaving = asyncio.create_task(work), asyncio.create_task(gone(request))
    try:
        await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
    finally:
        working.cancel()
        leaving.cancel()


@dataclass(frozen=True, slots=True)
class _Packed:
    cursor: Cursor
    until: float
    plain: bytes
    packed: bytes


class Snapshots:
    """Answers with everything in force; made and packed once a second at the most."""

    def __init__(self, issuer: str, feed: Feed) -> None:
        self._issuer = issuer
        self._feed = feed
        self._made: _Packed | None = None
        self._making = asyncio.Lock()

    async def answer(self, request: Request) -> Response:
        """Return the snapshot, or 304 if the listener has it."""
        snapshot = await self._current()
        etag = f'W/"{snapshot.cursor}"'
        headers = {"Cache-Control": "private, no-cache", "ETag": etag, "Vary": "Accept-Encoding"}
        if matches(request.scope, etag.removeprefix("W/").encode()):
            return Response(status_code=304, headers=headers)
        if accepts_gzip(request) and snapshot.packed:
            headers["Content-Encoding"] = "gzip"
            return Response(snapshot.packed, media_type="application/json", headers=headers)
        return Response(snapshot.plain, media_type="application/json", headers=headers)

    async def _current(self) -> _Packed:
        async with self._making:
            made = self._made
            # Never one of a timeline that is over: a listener would begin there anew.
            if made is None or time.monotonic() > made.until or made.cursor.timeline != self._feed.timeline:
                told = await self._feed.snapshot()
                # Whoever gets it a moment later must not take it for younger than it is.
                plain = _body(self._issuer, told, later=PACKED_FOR)
                until = time.monotonic() + PACKED_FOR
                packed = await asyncio.to_thread(_pack, plain) if len(plain) > _WORTH_PACKING else b""
                made = self._made = _Packed(told.cursor, until, plain, packed)
            return made


def _pack(body: bytes) -> bytes:
    return gzip.compress(body, compresslevel=1, mtime=0)


def _body(issuer: str, told: Told, *, later: float = 0.0) -> bytes:
    now = time.time()
    head = json.dumps(
        {
            "issuer": issuer,
            "snapshot": told.snapshot,
            "cursor": str(told.cursor),
            "seen_at": round(now - told.age, 3),
            "now": round(now + later, 3),
        },
        separators=(",", ":"),
    ).encode()
    return head[:-1] + b',"revocations":[' + told.revocations + b"]}"
