"""What the OpenAPI page says of /introspect and /revoke."""

from typing import Any

from starlette.responses import Response

from service.documentation import (
    AWAY,
    CLIENT_FIELDS,
    OAUTH_ERRORS,
    OPTIONAL_TEXT,
    STRING,
    TEXT,
    TOO_MANY,
    UNCACHED,
    form,
    json_answer,
    members,
    oauth_error,
    problem,
    unauthorized,
)
from service.errors import CLIENT_UNPROVEN
from service.http import FORM

_TOKEN = {
    "token": {**TEXT, "description": "an access token or a refresh token"},
    "token_type_hint": {**OPTIONAL_TEXT, "description": "not needed: the token itself tells its kind"},
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
        200: {"description": "It is revoked, on every replica", "headers": UNCACHED},
        400: oauth_error(
            "RFC 6749 5.2",
            invalid_request="the parameter token is missing",
            invalid_grant="the token was issued to another client; only that one may revoke it",
        ),
        **OAUTH_ERRORS,
    },
    "openapi_extra": {"security": [{"basic": []}, {}], **_FORM},
}

REVOCATIONS: dict[str, Any] = {
    "summary": "The revocations in force, and their changes",
    "description": "For resource services. Without a cursor: everything in force. With `after`: what came later, as "
    "soon as there is something, or an empty list once `wait` seconds are over; a snapshot again if the cursor means "
    "nothing any more. A later entry replaces an earlier one of the same subject. The record was last seen `now` - "
    "`seen_at` seconds before the answer was sent.",
    "responses": {
        200: json_answer(
            "A snapshot or changes",
            members(
                "issuer",
                "snapshot",
                "cursor",
                "seen_at",
                "now",
                "revocations",
                issuer=STRING,
                snapshot={"type": "boolean", "description": "this is everything in force: forget the rest"},
                cursor={**STRING, "description": "what to send as `after` next"},
                seen_at={"type": "number", "description": "when the record was last seen (NumericDate)"},
                now={"type": "number", "description": "when this was sent, by the same clock"},
                revocations={
                    "type": "array",
                    "items": members(
                        "exp",
                        "reason",
                        jti={**STRING, "description": "one access token"},
                        sid={**STRING, "description": "all tokens of a session"},
                        sub={**STRING, "description": "a user's tokens with a lower `uep` than `epoch`"},
                        client_id={
                            **STRING,
                            "description": "a client's tokens with a lower `cep` than `epoch`",
                        },
                        kid={**STRING, "description": "everything that this key has signed"},
                        epoch={"type": ["integer", "null"], "description": "null: all tokens"},
                        exp={"type": "integer", "description": "nothing that it kills lives longer"},
                        reason=STRING,
                    ),
                },
            ),
            {
                "issuer": "http://localhost:8000",
                "snapshot": False,
                "cursor": "0f8fad5bd9cb469fa16570867728950e.42",
                "seen_at": 1900000000.123,
                "now": 1900000000.456,
                "revocations": [
                    {
                        "sid": "6f1c0c1e-7b1e-4d5a-9d58-0d7c5a0d9b11",
                        "exp": 1900003720,
                        "reason": "logout",
                    },
                    {
                        "sub": "0f8fad5b-d9cb-469f-a165-70867728950e",
                        "epoch": 7,
                        "exp": 1900003720,
                        "reason": "logout_all",
                    },
                ],
            },
            {"Cache-Control": {"required": True, "schema": STRING}, "ETag": {"schema": STRING}},
        ),
        304: {"description": "The snapshot is still the one of the ETag in If-None-Match"},
        400: problem(
            400, "Bad Request", "after is no cursor of this feed; leave it out to begin with a snapshot"
        ),
        401: unauthorized(
            "Neither a client nor a token has proved itself",
            invalid_client=CLIENT_UNPROVEN,
            invalid_token="the access token has been revoked",  # noqa: S106  # a code, no password
        ),
        403: oauth_error(
            "The token may not", insufficient_scope="this takes a token with the scope revocations:read"
        ),
        429: TOO_MANY,
        503: AWAY,
    },
    "openapi_extra": {
        "security": [{"basic": []}, {"bearer": []}],
        "parameters": [
            {
                "name": "after",
                "in": "query",
                "schema": {**STRING, "pattern": r"^[0-9a-f]{32}\.[0-9]{1,18}$"},
                "description": "the cursor of the last answer",
            },
            {
                "name": "wait",
                "in": "query",
                "schema": {"type": "number", "minimum": 0, "maximum": 60, "multipleOf": 0.001, "default": 0},
                "description": "seconds to wait for a change",
            },
        ],
    },
}
