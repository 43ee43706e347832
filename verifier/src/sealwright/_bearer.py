"""Bearer tokens in requests, and the refusals of RFC 6750: what a caller is told, and no more."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from sealwright._claims import Claims
from sealwright._errors import InvalidToken, Unavailable
from sealwright._rules import Rule
from sealwright._verifier import Verifier

METADATA_PATH = "/.well-known/oauth-protected-resource"

_B64TOKEN = re.compile(r"[A-Za-z0-9\-._~+/]+=*")  # RFC 6750 2.1


class Refusal(Exception):
    """An answer instead of the resource. Holds nothing of the token."""

    def __init__(self, status: int, description: str, headers: Mapping[str, str]) -> None:
        super().__init__(status, description)
        self.status = status
        self.description = description
        self.headers = dict(headers)


@dataclass(frozen=True, slots=True)
class Resource:
    """The resource service as RFC 9728 describes it, and the challenges that point there."""

    audience: str

    @property
    def metadata_path(self) -> str:
        """Where its metadata is: the well-known part goes before the path of its URI (RFC 9728 3.1)."""
        return f"{METADATA_PATH}{urlsplit(self.audience).path.rstrip('/')}"

    @property
    def metadata_url(self) -> str:
        """The same with the host of its URI."""
        parts = urlsplit(self.audience)
        return f"{parts.scheme}://{parts.netloc}{self.metadata_path}"

    def metadata(self, issuer: str, scopes: Sequence[str]) -> dict[str, object]:
        """Return the metadata (RFC 9728 2)."""
        return {
            "resource": self.audience,
            "authorization_servers": [issuer],
            "scopes_supported": list(scopes),
            "bearer_methods_supported": ["header"],
        }

    def refusal(
        self, status: int, error: str | None, description: str, scopes: Sequence[str] = ()
    ) -> Refusal:
        """Return a refusal with its challenge (RFC 6750 3, RFC 9728 5.1).

        `error` None: there was no token, and the challenge says only that one is needed.
        """
        parameters = {"realm": self.audience}
        if error:
            parameters |= {"error": error, "error_description": description}
        if scopes:
            parameters["scope"] = " ".join(scopes)
        parameters["resource_metadata"] = self.metadata_url
        challenge = ", ".join(f'{name}="{value}"' for name, value in parameters.items())
        return Refusal(status, description, {"WWW-Authenticate": f"Bearer {challenge}"})


async def caller(
    verifier: Verifier, resource: Resource, authorization: Sequence[str], scopes: Sequence[str] = ()
) -> Claims:
    """Return who sends a request, given all its Authorization headers.

    Raises:
        Refusal: 400, 401 or 503.

    """
    try:
        return await verifier.authenticate(_token(resource, authorization, scopes))
    except InvalidToken:
        # Why it was refused is in the metrics; the caller learns no more than that (RFC 6750 3.1).
        description = "the access token is expired, revoked or invalid"
    except Unavailable as unavailable:
        raise unavailable_now(unavailable) from None
    raise resource.refusal(401, "invalid_token", description)


def unavailable_now(unavailable: Unavailable) -> Refusal:
    """Return the 503 for a token of which nothing can be said now."""
    headers = {"Retry-After": str(unavailable.retry_after)}
    return Refusal(503, "access tokens cannot be checked at the moment; try again", headers)


def check(rule: Rule, resource: Resource, claims: Claims) -> None:
    """Refuse a caller of whom it is certain, without the resource, that a rule does not let it in.

    Raises:
        Refusal: 403.

    """
    if rule.decided(claims) is False:
        raise forbidden(rule, resource, claims)


def forbidden(rule: Rule, resource: Resource, claims: Claims) -> Refusal:
    """Return the 403. It names the rule's scopes if the caller lacks one of them: asking for more may help then."""
    lacks = [scope for scope in rule.scopes if scope not in claims.scope]
    description = "the access token does not have the scope" if lacks else "the caller may not do this"
    return resource.refusal(403, "insufficient_scope", description, rule.scopes if lacks else ())


def _token(resource: Resource, authorization: Sequence[str], scopes: Sequence[str]) -> str:
    if len(authorization) > 1:
        raise resource.refusal(400, "invalid_request", "more than one Authorization header")
    scheme, _, token = (authorization[0] if authorization else "").partition(" ")
    if scheme.lower() != "bearer":
        raise resource.refusal(401, None, "an access token is needed", scopes)
    token = token.strip(" ")
    if not _B64TOKEN.fullmatch(token):
        raise resource.refusal(400, "invalid_request", "the Authorization header holds no bearer token")
    return token
