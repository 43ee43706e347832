"""Who is asking: client authentication at the OAuth endpoints (RFC 6749 2.3)."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from urllib.parse import unquote_plus

from service.catalog import LiveCopy
from service.clients.directory import Client, Directory
from service.errors import CLIENT_UNPROVEN, OAuthError
from service.http import is_text

_NOBODY = Client(
    id="",
    name="",
    secret_sha256=sha256(b"").digest(),
    grant_types=frozenset(),
    first_party=False,
    scopes=frozenset(),
    default_scopes=frozenset(),
    resources=frozenset(),
    default_resources=(),
    introspect_any=False,
    refresh_grace=None,
    epoch=0,
    disabled=True,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presents. `secret` None: the method `none`, for public clients."""

    client_id: str
    secret: str | None = field(repr=False)


def presented(authorization: str | None, parameters: Mapping[str, str]) -> Credentials | None:
    """Read the credentials from the Authorization header or from the parameters; None if there are none.

    Raises:
        OAuthError: they are malformed, or given in more than one way (RFC 6749 2.3).
    """
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if authorization is None:
        if client_id is None:
            if secret is not None:
                raise OAuthError("invalid_request", "client_secret was sent without a client_id")
            return None
        return Credentials(client_id, secret)
    basic = _basic(authorization)
    if secret is not None or client_id not in {None, basic.client_id}:
        raise OAuthError("invalid_request", "the client authenticates in more than one way; use one")
    return basic


def required(credentials: Credentials | None) -> Credentials:
    """Refuse, with `invalid_client`, a request that names no client."""
    if credentials is None:
        raise OAuthError(
            "invalid_client", "client authentication is missing: send Basic credentials, or client_id"
        )
    return credentials


def _basic(authorization: str) -> Credentials:
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        raise OAuthError(
            "invalid_client", "this endpoint takes client authentication by Basic or in the form"
        )
    try:
        text = base64.b64decode(encoded.strip(), validate=True).decode("utf-8")
        # Both halves are form-encoded before they are joined (RFC 6749 2.3.1).
        client_id, colon, secret = (
            unquote_plus(part, errors="strict") if part != ":" else part for part in text.partition(":")
        )
    except (binascii.Error, ValueError):
        raise OAuthError(
            "invalid_client", "the Basic credentials are not base64 of client_id:client_secret"
        ) from None
    if not colon or not client_id or not is_text(client_id + secret):
        raise OAuthError("invalid_client", "the Basic credentials are not base64 of client_id:client_secret")
    return Credentials(client_id, secret)


async def authenticate(
    directory: LiveCopy[Directory], credentials: Credentials, *, for_tokens: bool = True
) -> Client:
    """Return the client that these credentials prove.

    A failure is looked at twice, the second time with a copy of the clients that is fresh from
    Postgres: a client added or changed this very second is known.

    Raises:
        OAuthError: `invalid_client`, in the same words whatever was wrong.
        Unavailable: Postgres is away, and the copy proves nothing or, `for_tokens`, is too old.
    """
    copy = directory.current if for_tokens else directory.last
    client = _proven(copy, credentials) or _proven(await directory.refresh(), credentials)
    if client is None:
        raise OAuthError(
            "invalid_client",
            CLIENT_UNPROVEN,
            detail=f"client_id {credentials.client_id[:64]!r}",
        )
    return client


def _proven(directory: Directory, credentials: Credentials) -> Client | None:
    client = directory.clients.get(credentials.client_id, _NOBODY)
    if credentials.secret is None:
        proven = not client.confidential
    else:
        # Computed for an unknown client too, so that time does not tell which exist.
        proven = client.has_secret(credentials.secret) and client.confidential
    return client if proven and not client.disabled else None
