"""Guards for FastAPI: `Depends(guard)` gives the caller, `Depends(guard.scopes("orders:read"))` asks for more."""

import base64
import contextlib
import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, unquote_plus

from fastapi import APIRouter, Depends, HTTPException, Security
from fastapi.openapi.models import OAuth2, OAuthFlowClientCredentials, OAuthFlowPassword, OAuthFlows
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from sealwright import _rules
from sealwright._bearer import Refusal, Resource, caller, check, forbidden, unavailable_now
from sealwright._claims import Claims
from sealwright._errors import Unavailable
from sealwright._rules import Policy, Rule
from sealwright._verifier import Verifier

__all__ = ["Guard", "Permit", "Requirement"]

SIGN_IN_PATH = "/.sealwright/token"


class _Question:
    """Whether a route has asked its permit."""

    def __init__(self) -> None:
        self.asked = False


async def _question() -> AsyncIterator[_Question]:
    question = _Question()
    yield question
    # Before the answer is sent. A route that ends by an exception has answered for itself.
    if not question.asked:
        raise RuntimeError(
            "a route with a policy has let everybody pass: await its permit with the resource; "
            "where there is none, raise an HTTPException"
        )


@dataclass(frozen=True, slots=True)
class Permit:
    """What a route with a policy gets: `await permit(order)` lets the caller pass, or answers 403.

    A route that returns without having asked is a RuntimeError, and its answer is not sent.
    """

    caller: Claims
    _rule: Rule
    _resource: Resource
    _question: _Question

    async def __call__(self, resource: object) -> None:
        """Ask the rules about a resource.

        Raises:
            HTTPException: 403, the caller may not.

        """
        self._question.asked = True
        if not await self._rule.permits(self.caller, resource):
            raise _http(forbidden(self._rule, self._resource, self.caller))


class Requirement:
    """A dependency that lets a caller pass whom its rule lets in. `a & b` needs both, `a | b` either.

    It gives the caller's `Claims`; a `Permit` if a policy is in it, which the route asks with the resource.
    Both have to be of one guard, or combining them is a ValueError.
    """

    def __init__(self, guard: "Guard", rule: Rule) -> None:
        self._guard = guard
        self._rule = rule
        # FastAPI reads the signature: the guard with the rule's scopes is what it shows in the OpenAPI page.
        parameters = [_parameter("claims", Claims, Security(guard, scopes=list(rule.scopes)))]
        if rule.asks_resource:
            each = Depends(_question, use_cache=False, scope="function")
            parameters.append(_parameter("question", _Question, each))
        self.__signature__ = inspect.Signature(parameters)

    def __and__(self, other: "Requirement") -> "Requirement":
        return Requirement(self._guard, self._rule & self._same_caller(other))

    def __or__(self, other: "Requirement") -> "Requirement":
        return Requirement(self._guard, self._rule | self._same_caller(other))

    def _same_caller(self, other: "Requirement") -> Rule:
        if other._guard is not self._guard:  # noqa: SLF001  # one of ours
            raise ValueError("requirements of two guards cannot be combined: only one would check the token")
        return other._rule  # noqa: SLF001

    async def __call__(self, *, claims: Claims, question: _Question | None = None) -> Claims | Permit:
        """Give the caller, or a `Permit`.

        Raises:
            HTTPException: 403, the caller may not, whatever the resource.

        """
        resource = self._guard.resource
        try:
            check(self._rule, resource, claims)
        except Refusal as refusal:
            raise _http(refusal) from None
        return claims if question is None else Permit(claims, self._rule, resource, question)


def _parameter(name: str, annotation: type, default: object) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


class Guard(SecurityBase):
    """Lets requests with a good access token pass, and says who sent them.

    Start its verifier with the application, `FastAPI(lifespan=guard.lifespan)`, or in a lifespan of your own by
    `async with verifier`. `app.include_router(guard.router)` adds the resource's metadata (RFC 9728).

    With `development`, the router also has a route that the OpenAPI page's authorize button signs in at: it
    hands the form on to the issuer, which a browser may not ask from another origin. Leave it out in production:
    passwords are the issuer's alone.
    """

    def __init__(self, verifier: Verifier, *, development: bool = False, name: str = "Sealwright") -> None:
        self.verifier = verifier
        self.resource = Resource(verifier.audience)
        self.scheme_name = name
        self._development = development
        self._scopes: set[str] = set()

    @property
    def model(self) -> OAuth2:  # type: ignore[override]  # read when the page is made: by then all scopes are known
        """The security scheme of the OpenAPI page."""
        issuer = self.verifier.location.issuer
        url = SIGN_IN_PATH if self._development else f"{issuer.rstrip('/')}/token"
        scopes = dict.fromkeys(sorted(self._scopes), "")
        return OAuth2(
            flows=OAuthFlows(
                password=OAuthFlowPassword(tokenUrl=url, scopes=scopes),
                clientCredentials=OAuthFlowClientCredentials(tokenUrl=url, scopes=scopes),
            ),
            description=f"An access token of {issuer} for {self.resource.audience}",
        )

    async def __call__(self, connection: HTTPConnection) -> Claims:
        """Give the caller.

        Raises:
            HTTPException: 401 with a challenge (RFC 6750), 400, or 503 if it cannot be told.

        """
        try:
            return await caller(self.verifier, self.resource, connection.headers.getlist("authorization"))
        except Refusal as refusal:
            raise _http(refusal) from None

    def scopes(self, *needed: str) -> Requirement:
        """Ask for a token with all of these scopes."""
        rule = _rules.scopes(*needed)
        self._scopes |= set(rule.scopes)
        return Requirement(self, rule)

    def roles(self, *any_of: str) -> Requirement:
        """Ask for a user with one of these roles."""
        return Requirement(self, _rules.roles(*any_of))

    def allow(self, policy: Policy) -> Requirement:
        """Ask `policy(caller, resource)`, sync or async, for which the route loads the resource.

        The route gets a `Permit`, and calls `await permit(resource)`.
        """
        return Requirement(self, _rules.allow(policy))

    @asynccontextmanager
    async def lifespan(self, _: Any) -> AsyncIterator[None]:
        """Start the verifier with the application, and close it at its end."""
        async with self.verifier:
            yield

    @property
    def router(self) -> APIRouter:
        """The route of the metadata (RFC 9728), which the challenges point to; in development, of signing in."""
        router = APIRouter()

        @router.get(self.resource.metadata_path, include_in_schema=False)
        async def protected_resource() -> dict[str, object]:
            return self.resource.metadata(self.verifier.location.issuer, sorted(self._scopes))

        if self._development:

            @router.post(SIGN_IN_PATH, include_in_schema=False)
            async def sign_in(request: Request) -> Response:
                return await _signed_in(self.verifier, request)

        return router


async def _signed_in(verifier: Verifier, request: Request) -> Response:
    form = dict(parse_qsl((await request.body()).decode()))
    credentials = request.headers.get("authorization", "")
    public = _public_client(credentials)
    if public is not None:
        form["client_id"], credentials = public, ""
    try:
        reply = await verifier.ask_for_token(form, credentials)
    except Unavailable as unavailable:
        raise _http(unavailable_now(unavailable)) from None
    return Response(
        reply.body, reply.status, media_type="application/json", headers={"Cache-Control": "no-store"}
    )


def _public_client(credentials: str) -> str | None:
    """Return the client whose Basic credentials have no secret: the page knows no other way to name a public one."""
    scheme, _, encoded = credentials.partition(" ")
    with contextlib.suppress(ValueError):
        client_id, _, secret = base64.b64decode(encoded).decode().partition(":")
        if scheme.lower() == "basic" and client_id and not secret:
            return unquote_plus(client_id)
    return None


def _http(refusal: Refusal) -> HTTPException:
    return HTTPException(refusal.status, refusal.description, refusal.headers)
