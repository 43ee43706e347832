"""What the OpenAPI page says of /introspect and /revoke."""

from typing import Any

from starlette.responses import Response

from service.documentation import CLIENT_FIELDS, OAUTH_ERRORS, STRING, form, json_answer, members, oauth_error
from service.http import FORM

_TOKEN = {
    "token": {**STRING, "description": "an access token or a refresh token"},
    "token_type_hint": {**STRING, "description": "not needed: the token itself tells its kind"},
    **CLIENT_FIELDS,
}
_EXAMPLES = {
    "token": {"value": {"token": "eyJ…", "client_id": "demo-service", "client_secret": "demo-service-secret"}}
}
_FORM = form(_TOKEN, ["token"], _EXAMPLES, FORM)
INTROSPECT: dict[str, Any] = {
    "summary": "Ask whether a token is good",
    "description": "RFC 7662. A client sees its own tokens and those whose `aud` it serves; "
    "a refresh token only its own.",
    "responses": {
        200: json_answer(
            "Good, with its claims; or not",
            members(
                "active",
                active={"type": "boolean"},
                scope=STRING,
                client_id=STRING,
                sub=STRING,
                exp={"type": "integer"},
            ),
            {
                "active": True,
                "token_type": "Bearer",
                "scope": "orders:read",
                "client_id": "demo-app",
                "sub": "6f1c0c1e-7b1e-4d5a-9d58-0d7c5a0d9b11",
                "aud": "http://localhost:8001",
                "iss": "http://localhost:8000",
                "exp": 1900000900,
                "iat": 1900000000,
                "jti": "0f8fad5b-d9cb-469f-a165-70867728950e",
            },
        ),
        400: oauth_error("RFC 6749 5.2", invalid_request="the parameter token is missing"),
        **OAUTH_ERRORS,
    },
    "openapi_extra": {"security": [{"basic": []}, {}], **_FORM},
}

REVOKE: dict[str, Any] = {
    "summary": "Take a token back",
    "description": "RFC 7009. An access token by itself, a refresh token with its whole session. "
    "A token that is unknown or over is a success.",
    "response_class": Response,  # without a body
    "responses": {
        200: {"description": "It is revoked, on every replica"},
        400: oauth_error(
            "RFC 6749 5.2",
            invalid_request="the parameter token is missing",
            invalid_grant="the token was issued to another client; only that one may revoke it",
        ),
        **OAUTH_ERRORS,
    },
    "openapi_extra": {"security": [{"basic": []}, {}], **_FORM},
}
