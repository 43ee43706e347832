"""Middleware for any ASGI application: who gets past it has a good token.

The caller is then at `scope["sealwright.caller"]`, a `sealwright.Claims`.
"""

import json
from collections.abc import Awaitable, Callable, Collection, MutableMapping
from typing import Any

from sealwright._bearer import Refusal, Resource, caller, check
from sealwright._errors import ConfigurationError
from sealwright._rules import Rule, roles, scopes
from sealwright._verifier import Verifier

__all__ = ["BearerMiddleware", "roles", "scopes"]

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

CALLER = "sealwright.caller"


class BearerMiddleware:
    """Lets a request pass if its access token is good and `rule`, where one is given, lets its caller in.

    `public` are paths that need no token, letter for letter. The verifier is started and closed with the
    application, by the lifespan protocol.

    Raises:
        ValueError: the rule asks about a resource, which nobody has loaded yet.

    """

    def __init__(
        self, app: ASGIApp, verifier: Verifier, *, rule: Rule | None = None, public: Collection[str] = ()
    ) -> None:
        if rule is not None and rule.asks_resource:
            raise ValueError(
                "a policy needs the resource: check it where that is loaded, not in the middleware"
            )
        self._app = app
        self._verifier = verifier
        self._resource = Resource(verifier.audience)
        self._rule = rule
        self._scopes = rule.scopes if rule is not None else ()
        self._public = frozenset({*public, self._resource.metadata_path})

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["path"] == self._resource.metadata_path and scope["type"] == "http":
            metadata = self._resource.metadata(self._verifier.location.issuer, self._scopes)
            await _answer(send, 200, metadata, {})
        elif scope["path"] in self._public:
            await self._app(scope, receive, send)
        else:
            try:
                scope[CALLER] = await self._caller(scope)
            except Refusal as refusal:
                await _refuse(scope, send, refusal)
            else:
                await self._app(scope, receive, send)

    async def _caller(self, scope: Scope) -> object:
        authorization = [
            value.decode("latin-1") for name, value in scope["headers"] if name == b"authorization"
        ]
        claims = await caller(self._verifier, self._resource, authorization, self._scopes)
        if self._rule is not None:
            check(self._rule, self._resource, claims)
        return claims

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._verifier.start()
        except ConfigurationError as error:
            # Raised from here, a server would take it for "no lifespan", and go on without a verifier.
            await receive()
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            return
        try:
            await _lifespan(self._app, scope, receive, send)
        finally:
            await self._verifier.close()


async def _lifespan(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run an application's lifespan, or stand in for it: one that has none raises or returns before it listens."""
    listened = False

    async def listen() -> Message:
        nonlocal listened
        listened = True
        return await receive()

    try:
        await app(scope, listen, send)
    except Exception:
        if listened:
            raise
    if not listened:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


async def _refuse(scope: Scope, send: Send, refusal: Refusal) -> None:
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008, "reason": refusal.description})
        return
    await _answer(send, refusal.status, {"detail": refusal.description}, refusal.headers)


async def _answer(send: Send, status: int, body: object, headers: dict[str, str]) -> None:
    content = json.dumps(body).encode()
    sent = {"Content-Type": "application/json", "Content-Length": str(len(content)), **headers}
    encoded = [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()]
    await send({"type": "http.response.start", "status": status, "headers": encoded})
    await send({"type": "http.response.body", "body": content})
