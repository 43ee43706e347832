"""What the OpenAPI page says of a user's own endpoints."""

from typing import Any

from service.documentation import (
    RETRY_AFTER,
    STRING,
    TOO_MANY,
    form,
    json_answer,
    members,
    oauth_error,
    problem,
)
from service.http import JSON

_SECURITY: dict[str, Any] = {"security": [{"bearer": []}]}
_AWAY = {
    **problem(
        503, "Service Unavailable", "A part that the answer needs is away; send the same request again."
    ),
    **RETRY_AFTER,
}
_BEARER: dict[int | str, dict[str, Any]] = {
    401: oauth_error(
        "RFC 6750 3.1; the challenge is in WWW-Authenticate",
        invalid_token="the access token has been revoked",  # noqa: S106  # a code, no password
    ),
    403: oauth_error("RFC 6750 3.1", insufficient_scope="this takes a token with the scope account"),
    503: _AWAY,
}
_NOTHING: dict[int | str, dict[str, Any]] = {204: {"description": "Done"}, **_BEARER}

_TIME = {"type": "string", "format": "date-time"}
_STRINGS = {"type": "array", "items": STRING}
_MAYBE = {"type": ["string", "null"]}

_BODY: dict[int | str, dict[str, Any]] = {
    413: problem(413, "Content Too Large", "the body is too large"),
    415: problem(
        415, "Unsupported Media Type", "the body must be application/json; set Content-Type to say so"
    ),
}

ME: dict[str, Any] = {
    "summary": "Who am I?",
    "responses": {
        200: json_answer(
            "The user of this token",
            members(
                "sub",
                "username",
                "email",
                "roles",
                "created_at",
                "client_id",
                "sid",
                "scope",
                sub=STRING,
                username=STRING,
                email=_MAYBE,
                roles=_STRINGS,
                created_at=_TIME,
                client_id=STRING,
                sid=STRING,
                scope=STRING,
            ),
            {
                "sub": "6f1c0c1e-7b1e-4d5a-9d58-0d7c5a0d9b11",
                "username": "alice",
                "email": "alice@example.com",
                "roles": ["editor"],
                "created_at": "2026-11-01T09:00:00+00:00",
                "client_id": "demo-app",
                "sid": "8f14e45f-ceea-467f-a0e6-9b0e3f1f2a3b",
                "scope": "account orders:read orders:write",
            },
        ),
        **_BEARER,
    },
    "openapi_extra": _SECURITY,
}

REGISTER: dict[str, Any] = {
    "summary": "Make me a user",
    "description": "Exists where the deployment allows it. Signing in is the next step, at /token. 409 tells that the "
    "username or the email address is taken, never which of them.",
    "status_code": 201,
    "responses": {
        201: json_answer(
            "Registered",
            members("sub", "username", "email", sub=STRING, username=STRING, email=_MAYBE),
            {
                "sub": "6f1c0c1e-7b1e-4d5a-9d58-0d7c5a0d9b11",
                "username": "carol",
                "email": "carol@example.com",
            },
        ),
        400: problem(400, "Bad Request", "the new password is too short: it takes at least 8 characters"),
        409: problem(409, "Conflict", "this username or email address is taken"),
        **_BODY,
        429: TOO_MANY,
        503: _AWAY,
    },
    "openapi_extra": form(
        {
            "username": STRING,
            "password": {**STRING, "format": "password"},
            "email": {**STRING, "format": "email"},
        },
        ["username", "password"],
        {
            "register": {
                "value": {
                    "username": "carol",
                    "password": "correct horse battery staple",
                    "email": "carol@example.com",
                }
            }
        },
        JSON,
    ),
}

CHANGE_PASSWORD: dict[str, Any] = {
    "summary": "Change the password",
    "description": "Needs the present one. Ends every other session of the user; this one goes on.",
    "responses": {
        200: json_answer(
            "Changed", members("sessions_ended", sessions_ended={"type": "integer"}), {"sessions_ended": 2}
        ),
        400: problem(400, "Bad Request", "the new password is too short: it takes at least 8 characters"),
        **_BEARER,
        403: problem(403, "Forbidden", "current_password is wrong"),
        409: problem(409, "Conflict", "the account changed at the same moment; sign in and try again"),
        **_BODY,
        429: TOO_MANY,
    },
    "openapi_extra": {
        **_SECURITY,
        **form(
            {
                "current_password": {**STRING, "format": "password"},
                "new_password": {**STRING, "format": "password"},
            },
            ["current_password", "new_password"],
            {
                "change": {
                    "value": {"current_password": "wonderland", "new_password": "through the looking-glass"}
                }
            },
            JSON,
        ),
    },
}

DELETE_ME: dict[str, Any] = {
    "summary": "Delete my account",
    "description": "Needs the present password. Every session and token ends, and the account is gone for good; a new "
    "one of the same name is another user. Exists where the deployment allows it.",
    "status_code": 204,
    "responses": {
        **_NOTHING,
        **{
            code: response
            for code, response in CHANGE_PASSWORD["responses"].items()
            if code not in {200, 400}
        },
        400: problem(400, "Bad Request", "the member current_password is needed"),
    },
    "openapi_extra": {
        **_SECURITY,
        **form(
            {"current_password": {**STRING, "format": "password"}},
            ["current_password"],
            {"delete": {"value": {"current_password": "wonderland"}}},
            JSON,
        ),
    },
}

SESSIONS: dict[str, Any] = {
    "summary": "Where am I signed in?",
    "responses": {
        200: json_answer(
            "The live sessions, the newest first",
            members("sessions", sessions={"type": "array", "items": {"type": "object"}}),
            {
                "sessions": [
                    {
                        "sid": "8f14e45f-ceea-467f-a0e6-9b0e3f1f2a3b",
                        "current": True,
                        "client_id": "demo-app",
                        "client_name": "Demo app",
                        "started_at": "2026-11-01T09:00:00+00:00",
                        "last_refreshed_at": "2026-11-02T12:30:00+00:00",
                        "expires_at": "2026-11-16T12:30:00+00:00",
                        "scope": "account orders:read orders:write",
                        "amr": ["pwd"],
                        "address": "203.0.113.7",
                        "user_agent": "curl/8.10",
                    }
                ]
            },
        ),
        **_BEARER,
    },
    "openapi_extra": _SECURITY,
}

END_SESSION: dict[str, Any] = {
    "summary": "End one of my sessions",
    "status_code": 204,
    "responses": {**_NOTHING, 404: problem(404, "Not Found", "you have no session with this id")},
    "openapi_extra": {
        **_SECURITY,
        "parameters": [
            {"name": "sid", "in": "path", "required": True, "schema": {"type": "string", "format": "uuid"}}
        ],
    },
}
LOGOUT: dict[str, Any] = {
    "summary": "Sign out here",
    "status_code": 204,
    "responses": _NOTHING,
    "openapi_extra": _SECURITY,
}
LOGOUT_ALL: dict[str, Any] = {
    "summary": "Sign out everywhere",
    "status_code": 204,
    "responses": _NOTHING,
    "openapi_extra": _SECURITY,
}
