"""What every request leaves behind: an id, counts, and a line of the access log."""

import contextlib
import json
import random
import re
import time
from collections.abc import Awaitable, Mapping
from typing import TextIO

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service import logs, redaction
from service.errors import ABOUT, METHODS, PART
from service.logs import Rendering
from service.metadata import JWKS_PATH, PATHS
from service.metrics import Metrics

HEADER = b"x-request-id"

_SAFE = re.compile(rb"[A-Za-z0-9._-]{8,64}")
"""What may be taken over from a caller: it can break no line and is no token's length."""

NOWHERE = "none"
"""The route of a request for a path that we do not have."""


ABORTED = "aborted"
"""The status of a request whose caller had gone before there was an answer."""

_DOCUMENTS = frozenset({JWKS_PATH, *PATHS})


def new_id() -> str:
    """Return a new id: 64 random bits. It names a request and protects nothing, so it may be cheap."""
    return f"{random.getrandbits(64):016x}"


def given_id(scope: Scope) -> str | None:
    """Return the id that the caller has given, if it can be told from what could do harm in a log."""
    for name, value in scope["headers"]:
        if name == HEADER:
            if not _SAFE.fullmatch(value):
                return None
            said: str = value.decode("ascii")
            return said if redaction.text(said) == said else None
    return None


class AccessLog:
    """Writes a line a request, with the request's and no word of what was sent in it.

    It does not go through `logging`: that would cost a request more than all else here together. Whatever
    stands in a line is a number, a constant of ours or the id of a client that has proved itself.
    """

    def __init__(self, rendering: Rendering, out: TextIO) -> None:
        self._line = _json_line if rendering == "json" else _text_line
        self._write = out.write
        self._second = 0
        self._prefix = ""

    def request(self, about: Mapping[str, object], seconds: float) -> None:
        """Write one line; a log that cannot be written to costs no request its answer."""
        with contextlib.suppress(OSError, ValueError):
            self._write(self._line(self._now(), about, seconds * 1000))

    def _now(self) -> str:
        now = time.time()
        second = int(now)
        if second != self._second:
            # The dear part of a timestamp is the same for all lines of a second.
            self._second, self._prefix = second, logs.timestamp(second)[:-4]
        return f"{self._prefix}{int(now % 1 * 1000):03}Z"


_encode = json.JSONEncoder(separators=(",", ":")).encode


def _json_line(now: str, about: Mapping[str, object], ms: float) -> str:
    return (
        f'{{"timestamp":"{now}","level":"info","event":"request","logger":"sealwright.access",'
        f'"duration_ms":{ms:.2f},{_encode(about)[1:]}\n'
    )


def _text_line(now: str, about: Mapping[str, object], ms: float) -> str:
    known = " ".join(f"{name}={value}" for name, value in about.items())
    return f"{now} [info     ] request {known} duration_ms={ms:.2f}\n"


class Observed:
    """The outermost layer of the app: whatever answers, a bug's 500 included, is seen here."""

    def __init__(self, app: ASGIApp, metrics: Metrics, access: AccessLog | None) -> None:
        self._app = app
        self._metrics = metrics
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on, and note what came of it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = given_id(scope) or new_id()
        about: dict[str, object] = {"request_id": request_id}
        logs.begin(about)
        scope[ABOUT] = about
        status = 0

        def marked(message: Message) -> Awaitable[None]:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (HEADER, request_id.encode("ascii"))]
            return send(message)

        try:
            await self._app(scope, receive, marked)
        finally:
            self._note(scope, about, status, time.perf_counter() - began)

    def _note(self, scope: Scope, about: dict[str, object], status: int, seconds: float) -> None:
        method = scope["method"] if scope["method"] in METHODS else "other"
        path = scope["path"]
        route = path if path in _DOCUMENTS else getattr(scope.get("route"), "path", NOWHERE)
        metrics = self._metrics
        metrics.requests[method, route, str(status) if status else ABORTED].add()
        metrics.request_seconds[method, route].observe(seconds)
        if PART in about:
            metrics.unavailable[str(about[PART]),].add()
        if self._access is not None:
            about["method"], about["route"], about["status"] = method, route, status
            self._access.request(about, seconds)
