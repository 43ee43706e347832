"""What a program in a browser may read (CORS, the Fetch standard 3.2): at the origins of public clients alone.

No answer allows credentials, that is cookies: every program here proves itself by what it sends in the request.
"""

from starlette.types import Message, Scope, Send

from service.catalog import LiveCopy
from service.clients.directory import Directory
from service.metadata import JWKS_PATH, PATHS

# What public clients call, and what bears a token. Introspection takes a confidential client, which no browser is.
_METHODS = {
    "/token": b"POST",
    "/refresh": b"POST",
    "/revoke": b"POST",
    "/me": b"GET",
    "/me/password": b"POST",
    "/sessions": b"GET",
    "/logout": b"POST",
    "/logout/all": b"POST",
}
_SESSION, _SESSION_METHODS = "/sessions/", b"DELETE"

_MAX_AGE = b"600"
"""Seconds that a browser may keep the answer to a preflight."""

_VARY = (b"vary", b"Origin")
_EXPOSED = (b"access-control-expose-headers", b"Retry-After, WWW-Authenticate")


def origin_of(scope: Scope) -> bytes | None:
    """Return the Origin that a request names."""
    for name, value in scope["headers"]:
        if name == b"origin":
            origin: bytes = value
            return origin
    return None


class Cors:
    """Knows the registered origins, as this worker's copy of the clients has them."""

    def __init__(self, directory: LiveCopy[Directory]) -> None:
        self._directory = directory

    async def admit(self, scope: Scope, send: Send, origin: bytes) -> Send | None:
        """Return the `send` for the answer to a request from a page; None: it was a preflight, and is answered.

        A program of a known origin may read whatever the answer is, errors included.
        """
        path = scope["path"]
        if path == JWKS_PATH or path in PATHS:
            # Browsers of any origin may read what is public.
            allowed, methods = b"*", b"GET"
        elif (its := _methods(path)) is not None:
            allowed, methods = (origin if self._knows(origin) else b""), its
        else:
            return send
        if allowed and _is_preflight(scope):
            await _agree(send, allowed, methods)
            return None
        return _readable(send, allowed)

    def is_forged(self, scope: Scope, origin: bytes) -> bool:
        """Whether a page of a strange site has its visitor's browser send this.

        It could read no answer. But it would make wrong guesses in the name of the visitor's address, and have hashes
        made: a form needs no preflight (the Fetch standard 2.2.2; Sec-Fetch-Site: W3C Fetch Metadata 2.3).
        """
        return (
            scope["method"] == "POST"
            and (b"sec-fetch-site", b"cross-site") in scope["headers"]
            and not self._knows(origin)
        )

    def _knows(self, origin: bytes) -> bool:
        # Letter for letter: there is no wildcard, and no other spelling.
        return origin.decode("latin-1") in self._directory.last.origins


def _methods(path: str) -> bytes | None:
    return _SESSION_METHODS if path.startswith(_SESSION) else _METHODS.get(path)


def _is_preflight(scope: Scope) -> bool:
    return scope["method"] == "OPTIONS" and any(
        name == b"access-control-request-method" for name, _ in scope["headers"]
    )


async def _agree(send: Send, allowed: bytes, methods: bytes) -> None:
    headers = [
        (b"access-control-allow-origin", allowed),
        (b"access-control-allow-methods", methods),
        (b"access-control-allow-headers", b"Authorization, Content-Type, If-None-Match"),
        (b"access-control-max-age", _MAX_AGE),
        _VARY,
    ]
    await send({"type": "http.response.start", "status": 204, "headers": headers})
    await send({"type": "http.response.body", "body": b""})


def _readable(send: Send, allowed: bytes) -> Send:
    own = [_VARY, (b"access-control-allow-origin", allowed), _EXPOSED] if allowed else [_VARY]

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            message = {**message, "headers": [*message["headers"], *own]}
        await send(message)

    return sending
