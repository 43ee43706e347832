"""How a body is read and an answer written: bounded, strict, once."""

import asyncio
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.types import Scope

from service.errors import NO_STORE, OAuthError, Problem

MAX_BODY = 64 * 1024
MAX_FIELDS = 64

FORM = "application/x-www-form-urlencoded"
JSON = "application/json"


class BadBody(ValueError):
    """What is wrong with a body, in words that may be shown: never a part of the body itself."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


async def read_body(request: Request, *content_types: str) -> tuple[str, bytes]:
    """Read a body of at most 64 KiB whose content type is one of these; return the type and the bytes.

    Raises:
        BadBody: it is larger, or something else.
        ClientDisconnect: the caller has gone before its end.
    """
    content_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if content_type not in content_types:
        raise BadBody(f"the body must be {' or '.join(content_types)}; set Content-Type to say so", 415)
    body, more = b"", True
    while more:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            raise BadBody("the body is too large", 413)
    return content_type, body


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a body holds: parameters that stand once, and the values of those that may repeat."""

    one: Mapping[str, str] = field(repr=False)
    many: Mapping[str, tuple[str, ...]] = field(repr=False)


def parse_form(body: bytes, *, repeatable: Collection[str] = ()) -> Parameters:
    """Parse a form. A parameter without a value counts as not sent (RFC 6749 3.1).

    Raises:
        BadBody: a parameter stands twice that may not, or the bytes are no form of UTF-8 text.
    """
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            encoding="utf-8",
            errors="strict",
            max_num_fields=MAX_FIELDS,
        )
    except ValueError:  # UnicodeDecodeError is one
        raise BadBody("the body is not a form of percent-encoded UTF-8") from None
    one: dict[str, str] = {}
    many: dict[str, tuple[str, ...]] = {}
    for name, value in pairs:
        if not is_text(value):
            raise BadBody("a parameter has a control character in it")
        if name in repeatable:
            many[name] = (*many.get(name, ()), value)
        elif name in one:
            raise BadBody("a parameter stands more than once")
        else:
            one[name] = value
    return _sent(one, many)


def parse_json(body: bytes, *, repeatable: Collection[str] = ()) -> Parameters:
    """Parse a JSON object of strings, or arrays of strings for `repeatable`; null counts as not sent.

    Raises:
        BadBody: it is anything else.
    """
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_distinct)
    except BadBody:
        raise
    except (ValueError, RecursionError):
        raise BadBody("the body is not JSON") from None
    if not isinstance(value, dict):
        raise BadBody("the body must be a JSON object")
    one: dict[str, str] = {}
    many: dict[str, tuple[str, ...]] = {}
    for name, member in value.items():
        values = member if name in repeatable and isinstance(member, list) else [member]
        if not all(v is None or (isinstance(v, str) and is_text(v)) for v in values):
            raise BadBody("the members of the JSON object must be strings without control characters")
        if name in repeatable:
            many[name] = tuple(v or "" for v in values)
        else:
            one[name] = member or ""
    return _sent(one, many)


def _sent(one: Mapping[str, str], many: Mapping[str, tuple[str, ...]]) -> Parameters:
    return Parameters(
        {name: value for name, value in one.items() if value},
        {name: kept for name, values in many.items() if (kept := tuple(filter(None, values)))},
    )


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadBody("a member of the JSON object stands more than once")
    return members


def is_text(value: str) -> bool:
    """Whether a string can be stored and shown: no control characters (NUL breaks Postgres), no lone surrogates."""
    return value.isprintable() or not any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value)


async def read_parameters(
    request: Request, *content_types: str, repeatable: Collection[str] = ()
) -> Parameters:
    """Read and parse the body of an OAuth endpoint, or answer `invalid_request`."""
    try:
        content_type, body = await read_body(request, *content_types)
        parse = parse_json if content_type == JSON else parse_form
        return parse(body, repeatable=repeatable)
    except BadBody as error:
        raise OAuthError("invalid_request", str(error), status=error.status) from None


async def read_json(request: Request) -> Mapping[str, str]:
    """Read and parse a JSON object of strings, or answer a problem."""
    try:
        _, body = await read_body(request, JSON)
        return parse_json(body).one
    except BadBody as error:
        raise Problem(str(error), status=error.status) from None


_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode


def answer(body: Mapping[str, object], status: int = 200) -> Response:
    """Answer JSON that no cache may keep."""
    return Response(_encode(body).encode(), status, NO_STORE, JSON)


def nothing() -> Response:
    """Answer 204: done, and nothing to tell."""
    return Response(status_code=204, headers=NO_STORE)


def caller_address(request: Request) -> str | None:
    """Return the address that the request came from, as the connection tells it."""
    return request.client.host if request.client else None


def authorization(request: Request) -> str | None:
    """Return the Authorization header, None without one.

    Two of them are joined (RFC 9110 5.3), which makes them credentials of nobody: a proxy that looks at the
    first must not let through what we would read from the second.
    """
    values = request.headers.getlist("authorization")
    return ", ".join(values) if values else None


def matches(scope: Scope, etag: bytes) -> bool:
    """Whether If-None-Match names this ETag, which is given without a `W/` (RFC 9110 13.1.2)."""
    for name, value in scope["headers"]:
        if name == b"if-none-match":
            return value.strip() == b"*" or etag in [
                part.strip().removeprefix(b"W/") for part in value.split(b",")
            ]
    return False


def accepts_gzip(request: Request) -> bool:
    """Whether the caller reads gzip (RFC 9110 12.5.3)."""
    for offered in ",".join(request.headers.getlist("accept-encoding")).lower().split(","):
        coding, _, weight = offered.partition(";")
        if coding.strip() in {"gzip", "*"} and not re.fullmatch(r"\s*q=0(\.0*)?\s*", weight):
            return True
    return False


ARRIVED = "sealwright.arrived"
"""The key of a request's scope that says when it came in."""


COMPLETED = "sealwright.completed"
"""The key under which the server says when the caller had done its part, if that was after the head was read."""

EARLIEST = "sealwright.earliest"
"""The key under which stands what makes of the moment at which something was read that at which it can have come."""


def arrived(request: Request) -> float:
    """Return when the request had come in, by the monotonic clock. Ask only after the body was read.

    Whoever sends the body late, or the request behind others of its own, must not make it look as if we had been slow:
    what is older than it should be is spared, a token that is used again for one.
    """
    scope = request.scope
    completed: float | None = scope.get(COMPLETED)
    at: float = scope[ARRIVED] if completed is None else scope[EARLIEST](completed)
    return at


HUNG_UP = "sealwright.hung_up"
"""The key of a request's scope under which the server says whether its connection is gone."""


async def gone(request: Request) -> None:
    """Return when the caller has hung up. Ask only after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def hung_up(request: Request) -> bool:
    """Whether the caller has gone. Ask only after the body was read.

    The server learns of a closed connection from its event loop, so the loop must turn once first.
    """
    await asyncio.sleep(0)
    is_closing = request.scope.get(HUNG_UP)
    return await request.is_disconnected() if is_closing is None else is_closing()
