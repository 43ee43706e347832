"""Who is asking: client authentication at the OAuth endpoints (RFC 6749 2.3, RFC 7523 2.2)."""

import base64
import binascii
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

from sealwright import InvalidToken
from service import logs
from service.catalog import LiveCopy
from service.clients import assertions
from service.clients.assertions import ASSERTION_TYPE, Proof, Unproven
from service.clients.directory import Client, Directory
from service.clients.keys import ClientKeys
from service.clients.tables import NO_SECRET
from service.database import Database
from service.errors import ASSERTION_REFUSED, CLIENT_UNPROVEN, OAuthError
from service.guessing import Guesses
from service.http import is_text

_NOBODY = Client(
    id="",
    name="",
    confidential=True,
    secrets=(NO_SECRET, NO_SECRET),
    jwks=None,
    jwks_uri=None,
    grant_types=frozenset(),
    first_party=False,
    scopes=frozenset(),
    default_scopes=frozenset(),
    resources=frozenset(),
    default_resources=(),
    introspect_any=False,
    refresh_grace=None,
    access_token_lifetime=None,
    refresh_token_idle=None,
    session_lifetime=None,
    origins=frozenset(),
    epoch=0,
    disabled=True,
)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a client presents. `secret` None: the method `none`, for public clients."""

    client_id: str
    secret: str | None = field(repr=False)


def presented(authorization: str | None, parameters: Mapping[str, str]) -> Credentials | Unproven | None:
    """Read the credentials from the Authorization header or from the parameters; None if there are none.

    Raises:
        OAuthError: they are malformed, or given in more than one way (RFC 6749 2.3).
    """
    client_id, secret = parameters.get("client_id"), parameters.get("client_secret")
    if "client_assertion" in parameters or "client_assertion_type" in parameters:
        if authorization is not None or secret is not None:
            raise OAuthError("invalid_request", _IN_TWO_WAYS)
        return _assertion(parameters)
    if authorization is None:
        if client_id is None:
            if secret is not None:
                raise OAuthError("invalid_request", "client_secret was sent without a client_id")
            return None
        return Credentials(client_id, secret)
    basic = _basic(authorization)
    if secret is not None or client_id not in {None, basic.client_id}:
        raise OAuthError("invalid_request", _IN_TWO_WAYS)
    return basic


_IN_TWO_WAYS = "the client authenticates in more than one way; use one"


def required(credentials: Credentials | Unproven | None) -> Credentials | Unproven:
    """Refuse, with `invalid_client`, a request that names no client."""
    if credentials is None:
        raise OAuthError(
            "invalid_client", "client authentication is missing: send Basic credentials, or client_id"
        )
    return credentials


def _assertion(parameters: Mapping[str, str]) -> Unproven:
    token, kind = parameters.get("client_assertion"), parameters.get("client_assertion_type")
    if token is None or kind is None:
        raise OAuthError(
            "invalid_request", "client_assertion and client_assertion_type are sent together (RFC 7521 4.2)"
        )
    if kind != ASSERTION_TYPE:
        raise OAuthError("invalid_request", f"client_assertion_type must be {ASSERTION_TYPE}")
    try:
        assertion = assertions.read(token)
    except InvalidToken as error:
        raise OAuthError("invalid_client", ASSERTION_REFUSED, detail=str(error)) from None
    if parameters.get("client_id", assertion.client_id) != assertion.client_id:
        raise OAuthError("invalid_client", ASSERTION_REFUSED, detail="client_id is not the assertion's sub")
    return assertion


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


class Authenticator:
    """Says which client a request comes from."""

    def __init__(
        self,
        directory: LiveCopy[Directory],
        database: Database,
        keys: ClientKeys,
        guesses: Guesses,
        issuer: str,
    ) -> None:
        self._directory = directory
        self._database = database
        self._keys = keys
        self._guesses = guesses
        self._issuer = issuer

    async def authenticate(
        self, credentials: Credentials | Unproven, address: str | None, *, for_tokens: bool = True
    ) -> Client:
        """Return the client that these credentials prove.

        A failure is looked at twice, the second time with a copy of the clients that is fresh from
        Postgres: a client added or changed this very second is known. Before that second look it is counted: what
        is right at once meets no limit, and no Redis.

        Raises:
            OAuthError: `invalid_client`, in the same words whatever was wrong.
            TooMany: it was wrong, as too often before from this address.
            Unavailable: Postgres is away, and the copy proves nothing or, `for_tokens`, is too old, or an
                assertion cannot be used up.
        """
        copy = self._directory.current if for_tokens else self._directory.last
        if isinstance(credentials, Unproven):
            by_assertion = await self._by_assertion(copy, credentials, address)
            logs.bind(client_id=by_assertion.id)
            return by_assertion
        client = _proven(copy, credentials) or await self._looked_at_again(credentials, address)
        logs.bind(client_id=client.id)
        return client

    async def _looked_at_again(self, credentials: Credentials, address: str | None) -> Client:
        async with self._guesses.client(credentials.client_id, address) as guess:
            directory = await self._directory.refresh()
            client = _proven(directory, credentials)
            if client is None:
                await guess.failed(client_id=_known(directory, credentials.client_id))
                raise OAuthError(
                    "invalid_client",
                    CLIENT_UNPROVEN,
                    detail=f"client_id {credentials.client_id[:64]!r}",
                )
            await guess.succeeded()
        return client

    async def _by_assertion(self, copy: Directory, assertion: Unproven, address: str | None) -> Client:
        try:
            client, proof = await self._verified(copy, assertion)
        except InvalidToken:
            async with self._guesses.client(assertion.client_id, address) as guess:
                directory = await self._directory.refresh()
                try:
                    client, proof = await self._verified(directory, assertion)
                except InvalidToken as error:
                    await guess.failed(client_id=_known(directory, assertion.client_id))
                    raise _refused(assertion, str(error)) from None
                await guess.succeeded()
        async with self._database.connect() as db:
            if not await assertions.use(db, proof):
                raise _refused(assertion, "its jti was used before")
        return client

    async def _verified(self, directory: Directory, assertion: Unproven) -> tuple[Client, Proof]:
        client = directory.clients.get(assertion.client_id)
        if client is None or client.disabled:
            raise InvalidToken("unknown_key", "no client of this name is enabled")
        keys = await self._keys.of(client, assertion.kid)
        return client, assertions.verify(assertion, keys, self._issuer, time.time())


def _known(directory: Directory, client_id: str) -> str | None:
    return client_id if client_id in directory.clients else None


def _refused(assertion: Unproven, why: str) -> OAuthError:
    detail = f"client_id {assertion.client_id[:64]!r}, {why}"
    return OAuthError("invalid_client", ASSERTION_REFUSED, detail=detail)


def _proven(directory: Directory, credentials: Credentials) -> Client | None:
    client = directory.clients.get(credentials.client_id, _NOBODY)
    if credentials.secret is None:
        proven = not client.confidential
    else:
        # Computed for an unknown client too, so that time does not tell which exist.
        proven = client.has_secret(credentials.secret) and client.confidential
    return client if proven and not client.disabled else None
