"""The well-known documents (RFC 8615), answered from bytes before anything else looks at a request."""

from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from service.documentation import STRING, json_answer, members
from service.draining import Drain
from service.http import matches
from service.metadata import JWKS_PATH, PATHS
from service.metadata import document as metadata
from service.routing import PlainRoute
from service.settings import Settings
from service.signing import KeyRing, KeyRingWatcher

Headers = list[tuple[bytes, bytes]]


class _Document:
    """The bytes of a document, and the headers that tell of them: made once."""

    def __init__(self, body: bytes, max_age: bytes, etag: bytes | None = None) -> None:
        self.body = body
        self.etag = etag
        self.headers: Headers = [
            (b"content-type", b"application/json"),
            (b"cache-control", max_age),
            # Browsers of any origin may read what is public.
            (b"access-control-allow-origin", b"*"),
        ]
        if etag is not None:
            self.headers.append((b"etag", etag))
        self.sized: Headers = [*self.headers, (b"content-length", str(len(body)).encode())]


class WellKnown:
    """Answers the JWKS and the metadata; everything else goes on to the app."""

    def __init__(self, app: ASGIApp, *, settings: Settings, keys: KeyRingWatcher, drain: Drain) -> None:
        self._app = app
        self._keys = keys
        self._drain = drain
        self._max_age = f"public, max-age={int(settings.jwks_max_age.total_seconds())}".encode()
        self._metadata = _Document(metadata(settings), self._max_age)
        self._ring: KeyRing | None = None
        self._jwks: _Document | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer or hand on."""
        if scope["type"] == "http":
            if self._drain.begun:
                send = self._drain.closing(send)
            document = self._document(scope["path"]) if scope["method"] in {"GET", "HEAD"} else None
            if document is not None:
                await _answer(document, scope, send)
                return
        await self._app(scope, receive, send)

    def _document(self, path: str) -> _Document | None:
        if path == JWKS_PATH:
            return self._key_set()
        return self._metadata if path in PATHS else None

    def _key_set(self) -> _Document:
        ring = self._keys.ring
        if self._jwks is None or self._ring is not ring:
            self._ring = ring
            self._jwks = _Document(ring.jwks, self._max_age, ring.etag.encode())
        return self._jwks


async def _answer(document: _Document, scope: Scope, send: Send) -> None:
    status, headers, body = 200, document.sized, document.body
    if document.etag is not None and matches(scope, document.etag):
        status, headers, body = 304, document.headers, b""
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


def routes() -> APIRouter:
    """Return the documents' routes: for the OpenAPI page, and so that any other method is a 405."""
    router = APIRouter(route_class=PlainRoute, tags=["documents"])
    router.get(JWKS_PATH, name="jwks", **_JWKS)(_answered_before)
    for path in PATHS:
        name = path.rpartition("/")[2].replace("-", "_")
        router.get(path, name=name, **_METADATA)(_answered_before)
    return router


async def _answered_before(request: Request) -> Response:
    raise AssertionError(f"{request.url.path} is answered before routing")


_URL = {"type": "string", "format": "uri"}
_KEPT = {"Cache-Control": {"required": True, "schema": {"type": "string", "pattern": "^public, max-age="}}}
_KEY = dict.fromkeys(("kty", "use", "alg", "kid"), STRING)
_JWKS: dict[str, Any] = {
    "summary": "The public keys",
    "description": "RFC 7517: the next key, the active one, and retired ones that tokens still carry. May be kept for "
    "the max-age of Cache-Control; then ask again with If-None-Match.",
    "responses": {
        200: json_answer(
            "The key set",
            members("keys", keys={"type": "array", "items": members(*_KEY, **_KEY)}),
            {
                "keys": [
                    {
                        "kty": "RSA",
                        "n": "0vx7agoe…",
                        "e": "AQAB",
                        "use": "sig",
                        "alg": "RS256",
                        "kid": "NzbLsXh8…",
                    }
                ]
            },
            {**_KEPT, "ETag": {"required": True, "schema": STRING}},
        ),
        304: {"description": "Nothing has changed since the ETag in If-None-Match"},
    },
}
_METADATA: dict[str, Any] = {
    "summary": "What this issuer can do, and where",
    "description": "RFC 8414; the same document at both paths.",
    "responses": {
        200: json_answer(
            "The metadata",
            members(
                "issuer",
                "token_endpoint",
                "jwks_uri",
                "response_types_supported",
                issuer=_URL,
                token_endpoint=_URL,
                jwks_uri=_URL,
                response_types_supported={"type": "array", "items": STRING},
            ),
            {
                "issuer": "http://localhost:8000",
                "token_endpoint": "http://localhost:8000/token",
                "jwks_uri": "http://localhost:8000/.well-known/jwks.json",
                "response_types_supported": [],
            },
            _KEPT,
        )
    },
}
