"""Token requests as a closed union, parsed once at the edge."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, TypeAlias

from service.clients.store import GRANT_TYPES
from service.errors import OAuthError
from service.grants.scope import Asked, parse_scope
from service.http import Parameters

REPEATABLE = ("resource",)  # RFC 8707 2


@dataclass(frozen=True, slots=True)
class PasswordRequest:
    """RFC 6749 4.3.2."""

    grant_type: ClassVar = "password"
    asked: Asked
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientCredentialsRequest:
    """RFC 6749 4.4.2."""

    grant_type: ClassVar = "client_credentials"
    asked: Asked


@dataclass(frozen=True, slots=True)
class RefreshRequest:
    """RFC 6749 6."""

    grant_type: ClassVar = "refresh_token"
    asked: Asked
    refresh_token: str = field(repr=False)


TokenRequest: TypeAlias = PasswordRequest | ClientCredentialsRequest | RefreshRequest


def parse(parameters: Parameters) -> TokenRequest:
    """Parse the body of POST /token.

    Raises:
        OAuthError: `unsupported_grant_type`, `invalid_request` (the missing parameter is named) or `invalid_scope`.
    """
    one = parameters.one
    grant_type = _required(one, "grant_type")
    asked = _asked(parameters)
    match grant_type:
        case "password":
            return PasswordRequest(asked, _required(one, "username"), _required(one, "password"))
        case "client_credentials":
            return ClientCredentialsRequest(asked)
        case "refresh_token":
            return RefreshRequest(asked, _required(one, "refresh_token"))
        case _:
            raise OAuthError("unsupported_grant_type", f"grant_type must be one of: {', '.join(GRANT_TYPES)}")


def parse_refresh(parameters: Parameters) -> RefreshRequest:
    """Parse the body of POST /refresh. Raises as `parse`."""
    one = parameters.one
    if one.get("grant_type", "refresh_token") != "refresh_token":
        raise OAuthError("unsupported_grant_type", "this endpoint only refreshes; other grants are at /token")
    asked = _asked(parameters)
    return RefreshRequest(asked, _required(one, "refresh_token"))


def _asked(parameters: Parameters) -> Asked:
    # A resource named twice is one audience, not two.
    resources = dict.fromkeys(parameters.many.get("resource", ()))
    return Asked(parse_scope(parameters.one.get("scope")), tuple(resources))


def _required(parameters: Mapping[str, str], name: str) -> str:
    value = parameters.get(name)
    if value is None:
        raise OAuthError("invalid_request", f"the parameter {name} is missing")
    return value
