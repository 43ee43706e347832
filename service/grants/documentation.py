"""What the OpenAPI page says of /token and /refresh."""

from typing import Any

from service.clients.store import GRANT_TYPES
from service.documentation import (
    CLIENT_FIELDS,
    OAUTH_ERRORS,
    OPTIONAL_TEXT,
    TEXT,
    form,
    json_answer,
    members,
    oauth_error,
)
from service.http import FORM, JSON

_SCOPE = {
    "scope": {
        **OPTIONAL_TEXT,
        "description": "Names with one space between them. Without it, the client's default; "
        "at a refresh, what was granted at sign-in.",
    },
    "resource": {
        "type": "array",
        "items": OPTIONAL_TEXT,
        "description": "The resource the token is for, an absolute URI (RFC 8707); may stand more than once. "
        "Without it, the client's default.",
    },
}
_REFRESH_TOKEN = {"description": "The live one, or the one before within the grace period."}

_LINKS = {
    "refresh": {
        "operationId": "refresh",
        "requestBody": {"refresh_token": "$response.body#/refresh_token"},
        "description": "Exchange the refresh token for its successor.",
    },
    "introspect": {
        "operationId": "introspect",
        "requestBody": {"token": "$response.body#/access_token"},
        "description": "Ask whether the access token is still good.",
    },
    "revoke": {
        "operationId": "revoke",
        "requestBody": {"token": "$response.body#/access_token"},
        "description": "Take the access token back; with the refresh token instead, end the session.",
    },
}

_ANSWER = json_answer(
    "The tokens",
    members(
        "access_token",
        "token_type",
        "expires_in",
        "scope",
        access_token={"type": "string", "description": "a JWT (RFC 9068)"},
        token_type={"type": "string", "const": "Bearer"},
        expires_in={"type": "integer", "description": "seconds"},
        scope={"type": "string", "description": "what was granted; may be less than was asked for"},
        refresh_token={"type": "string", "description": "for a user's session"},
    ),
    {
        "access_token": "eyJhbGciOiJSUzI1NiIs…",
        "token_type": "Bearer",
        "expires_in": 900,
        "scope": "account orders:read orders:write",
        "refresh_token": "eyJhbGciOiJSUzI1NiIs…",
    },
)

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {**_ANSWER, "links": _LINKS},
    400: oauth_error(
        "RFC 6749 5.2",
        invalid_request="the parameter grant_type is missing",
        invalid_grant="the refresh token is not valid any more; the user must sign in again",
        unauthorized_client="this client may not use the grant password",
        unsupported_grant_type="grant_type must be one of: password, client_credentials, refresh_token",
        invalid_scope="a scope asked for does not exist",
        invalid_target="a resource asked for is unknown, or not one that this client may use",
    ),
    **OAUTH_ERRORS,
}

_SECURITY: dict[str, Any] = {"security": [{"basic": []}, {}]}

TOKEN: dict[str, Any] = {
    "summary": "Get tokens",
    "description": "RFC 6749. A client authenticates by Basic, by client_id and client_secret in the form, by a "
    "client_assertion (RFC 7523), or, if it is public, by client_id alone.",
    "responses": _RESPONSES,
    "openapi_extra": {
        **_SECURITY,
        **form(
            {
                "grant_type": {"type": "string", "enum": list(GRANT_TYPES)},
                "username": {**OPTIONAL_TEXT, "description": "password: the username or email"},
                "password": {
                    **OPTIONAL_TEXT,
                    "format": "password",
                    "description": "password: the user's password",
                },
                "refresh_token": {**OPTIONAL_TEXT, **_REFRESH_TOKEN},
                **_SCOPE,
                **CLIENT_FIELDS,
            },
            ["grant_type"],
            {
                "a user signs in": {
                    "value": {
                        "grant_type": "password",
                        "client_id": "demo-app",
                        "username": "alice",
                        "password": "wonderland",
                    }
                },
                "a service asks for itself": {
                    "value": {
                        "grant_type": "client_credentials",
                        "client_id": "demo-service",
                        "client_secret": "demo-service-secret",
                        "scope": "orders:read",
                    }
                },
                "refresh": {
                    "value": {"grant_type": "refresh_token", "client_id": "demo-app", "refresh_token": "eyJ…"}
                },
            },
            FORM,
        ),
    },
}

REFRESH: dict[str, Any] = {
    "summary": "Refresh",
    "description": "The refresh_token grant by its short name. A public client is known by its token. "
    "The same request may be sent again, and by several threads at once: within the grace period all get "
    "the same successor.",
    "responses": _RESPONSES,
    "openapi_extra": {
        **_SECURITY,
        **form(
            {"refresh_token": {**TEXT, **_REFRESH_TOKEN}, **_SCOPE, **CLIENT_FIELDS},
            ["refresh_token"],
            {"refresh": {"value": {"refresh_token": "eyJ…"}}},
            JSON,
            FORM,
        ),
    },
}
