"""The closed set of refusals, and the one renderer that decides what leaves the building.

Each carries what the caller may know and, apart from it, a `detail` that only the log sees.
OAuth endpoints answer in the shape of RFC 6749 5.2, bearer-protected ones in that of RFC 6750,
everything else in RFC 9457 problem details.
"""

import http
import logging
import time
from collections.abc import Mapping
from typing import Literal

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Match

log = logging.getLogger("sealwright")

OAuthCode = Literal[
    "invalid_request",
    "invalid_client",
    "invalid_grant",
    "unauthorized_client",
    "unsupported_grant_type",
    "invalid_scope",
    "invalid_target",  # RFC 8707 2
    "temporarily_unavailable",
]

BearerCode = Literal["invalid_request", "invalid_token", "insufficient_scope"]

OAUTH_PATHS = frozenset({"/token", "/refresh", "/revoke", "/introspect"})

NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}  # RFC 6749 5.1

REALM = "sealwright"

ABOUT = "sealwright.about"
"""The key of a request's scope under which stands what its log lines say of it, its `request_id` first."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
"""The methods that are told by their name; whoever sends another one must not choose a label."""

PART = "unavailable"
"""The member of it that names the part for want of which a request was refused."""

CLIENT_UNPROVEN = (
    "client authentication failed; check the client_id and the secret, and that the client is enabled"
)

ASSERTION_REFUSED = (
    "client authentication failed; check that the client is enabled and its key registered under the header's kid, "
    "that iss and sub are the client_id and aud is the issuer alone, and that each request has an assertion of its "
    "own, with a new jti and an exp at most 5 minutes ahead"
)


class Refusal(Exception):  # the word of the domain: most are no fault of ours
    """An expected failure, on its way to the renderer."""

    def __init__(
        self, description: str, *, status: int, detail: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(description)
        self.description = description
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})


class OAuthError(Refusal):
    """An error of an OAuth endpoint (RFC 6749 5.2); `invalid_client` is a 401 with a challenge."""

    def __init__(self, error: OAuthCode, description: str, *, status: int = 400, detail: str = "") -> None:
        headers = {}
        if error == "invalid_client":
            status, headers = 401, {"WWW-Authenticate": f'Basic realm="{REALM}", charset="UTF-8"'}
        super().__init__(description, status=status, detail=detail, headers=headers)
        self.error: OAuthCode = error


class BearerError(Refusal):
    """A refusal of a bearer token (RFC 6750 3.1).

    `error` None: the request carried no token, and the challenge says no more than that one is needed.
    """

    def __init__(
        self, error: BearerCode | None, description: str, *, scope: str = "", detail: str = ""
    ) -> None:
        challenge = f'Bearer realm="{REALM}"'
        if error:
            challenge += f', error="{error}", error_description="{description}"'
        if scope:
            challenge += f', scope="{scope}"'
        status = {"invalid_request": 400, "insufficient_scope": 403}.get(error or "", 401)
        super().__init__(description, status=status, detail=detail, headers={"WWW-Authenticate": challenge})
        self.error: BearerCode = error or "invalid_token"


class Problem(Refusal):
    """Anything else that is wrong with a request: RFC 9457."""


class Unavailable(Refusal):
    """A part that this answer needs is down or too busy. Nothing was done; the same request may be sent again.

    Without a line in the log if it is not `told`.
    """

    def __init__(self, part: str, *, detail: str = "", retry_after: int = 1, told: bool = True) -> None:
        super().__init__(
            f"{part} cannot be reached or is busy right now; send the same request again after Retry-After seconds",
            status=503,
            detail=(detail or part) if told else "",
            headers={"Retry-After": str(retry_after)},
        )
        self.part = part


class Shedding:
    """Tells of one refusal a second: of thousands, the lines would cost more than the refusing."""

    def __init__(self) -> None:
        self._next = 0.0

    def is_due(self) -> bool:
        """Whether to tell of this one."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + 1
        return True


class TooMany(Refusal):
    """Too much has failed, or too many have registered, before this. It was not looked at, and nothing was counted."""

    def __init__(self, *, retry_after: int) -> None:
        super().__init__(
            "there were too many tries; send the request again after Retry-After seconds, not sooner",
            status=429,
            headers={"Retry-After": str(retry_after)},
        )


async def render(request: Request, error: Exception) -> Response:
    """Answer a refusal, an HTTPException of the framework, or a bug, in the shape the endpoint's standard asks for."""
    refusal = _refusal(error)
    if refusal.status == 405:
        refusal.headers["Allow"] = _allowed(request)
    about = request.scope.get(ABOUT, {})
    if isinstance(refusal, Unavailable):
        about[PART] = refusal.part
    if refusal.detail:
        log.log(
            logging.WARNING if refusal.status >= 500 else logging.INFO,
            "refused: %s",
            refusal.description,
            extra={
                "method": request.method,
                "route": _route(request),
                "status": refusal.status,
                "detail": refusal.detail,
            },
        )
    if isinstance(refusal, OAuthError | BearerError):
        body: dict[str, object] = {"error": refusal.error, "error_description": refusal.description}
        media_type = "application/json"
    elif request.url.path in OAUTH_PATHS:
        code: OAuthCode = "temporarily_unavailable" if refusal.status in {429, 503} else "invalid_request"
        body = {
            "error": code if refusal.status != 500 else "server_error",
            "error_description": refusal.description,
        }
        media_type = "application/json"
    else:
        title = http.HTTPStatus(refusal.status).phrase
        body = {
            "type": "about:blank",
            "title": title,
            "status": refusal.status,
            "detail": refusal.description,
        }
        if "request_id" in about:  # an extension member (RFC 9457 3.2): what to ask the operator about
            body["request_id"] = about["request_id"]
        media_type = "application/problem+json"
    return JSONResponse(body, refusal.status, {**NO_STORE, **refusal.headers}, media_type)


def _route(request: Request) -> str:
    # The path as it is declared, not as it was sent: whoever sends it could put a line break or a token there.
    return getattr(request.scope.get("route"), "path", "an unknown path")


def _allowed(request: Request) -> str:
    # The framework names the methods of one route; the header is for all that the path takes (RFC 9110 10.2.1).
    taken = {
        method
        for method in METHODS
        for route in request.app.routes
        if route.matches({**request.scope, "method": method})[0] is Match.FULL
    }
    return ", ".join(sorted(taken | ({"HEAD"} if "GET" in taken else set())))


def _refusal(error: Exception) -> Refusal:
    if isinstance(error, Refusal):
        return error
    if isinstance(error, HTTPException):
        said = {
            404: "there is nothing at this path; the endpoints are listed at /.well-known/oauth-authorization-server",
            405: "this path does not take that method; see the Allow header",
        }.get(error.status_code, str(error.detail))
        return Refusal(said, status=error.status_code, headers=error.headers)
    if isinstance(error, ClientDisconnect):
        return Refusal("the request was not sent to its end", status=400)
    # Whatever it is, its text may hold anything: it goes to the log alone (as a traceback, by the server).
    return Refusal(
        "something failed on our side; the log of the service tells what",
        status=500,
        detail=repr(type(error)),
    )
