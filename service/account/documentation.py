"""What the OpenAPI page says of a user's own endpoints."""

from typing import Any

from service.documentation import (
    AWAY,
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
from service.http import JSON

_SECURITY: dict[str, Any] = {"security": [{"bearer": []}]}
_BEARER: dict[int | str, Any] = {
    401: unauthorized(
        "RFC 6750 3.1",
        invalid_token="the access token has been revoked",  # noqa: S106  # a code, no password
    ),
    403: oauth_error("RFC 6750 3.1", insufficient_scope="this takes a token with the scope account"),
    503: AWAY,
}
_NOTHING: dict[int | str, dict[str, Any]] = {
    204: {"description": "Done", "headers": UNCACHED},
    **_BEARER,
}

_TIME = {"type": "string", "format": "date-time"}
_STRINGS = {"type": "array", "items": STRING}
_MAYBE = {"type": ["string", "null"]}
_PASSWORD = {**TEXT, "format": "password"}
_TOO_SHORT = problem(400, "Bad Request", "the new password is too short: it takes at least 8 characters")
_WRONG = problem(403, "Forbidden", "current_password is wrong")
_NAME = r"[^@\x00-\x1f\x7f-\x9f]"

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


def register(shortest: int) -> dict[str, Any]:
    """Document POST /users; a password has at least so many characters."""
    return {
        "summary": "Make me a user",
        "description": "Exists where the deployment allows it. Signing in is the next step, at /token. 409 tells that "
        "the username or the email address is taken, never which of them. Both are compared in lower case and after "
        "Unicode's NFKC.",
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
            400: _TOO_SHORT,
            409: problem(409, "Conflict", "this username or email address is taken"),
            **_BODY,
            429: TOO_MANY,
            503: AWAY,
        },
        "openapi_extra": form(
            {
                "username": {**STRING, "minLength": 1, "maxLength": 64, "pattern": f"^{_NAME}+$"},
                "password": {**_PASSWORD, "minLength": shortest},
                "email": {**STRING, "maxLength": 254, "pattern": f"^({_NAME}+@{_NAME}+)?$"},
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


_PROVED: dict[int | str, Any] = {
    **_BEARER,
    403: {
        **_WRONG,
        "description": "current_password is wrong, or the token may not",
        "content": {**_BEARER[403]["content"], **_WRONG["content"]},
    },
    409: problem(409, "Conflict", "the account changed at the same moment; sign in and try again"),
    **_BODY,
    429: TOO_MANY,
}


def change_password(shortest: int) -> dict[str, Any]:
    """Document POST /me/password; a new password has at least so many characters."""
    return {
        "summary": "Change the password",
        "description": "Needs the present one. Ends every other session of the user; this one goes on.",
        "responses": {
            200: json_answer(
                "Changed",
                members("sessions_ended", sessions_ended={"type": "integer"}),
                {"sessions_ended": 2},
            ),
            400: _TOO_SHORT,
            **_PROVED,
        },
        "openapi_extra": {
            **_SECURITY,
            **form(
                {"current_password": _PASSWORD, "new_password": {**_PASSWORD, "minLength": shortest}},
                ["current_password", "new_password"],
                {
                    "change": {
                        "value": {
                            "current_password": "wonderland",
                            "new_password": "through the looking-glass",
                        }
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
        400: problem(400, "Bad Request", "the member current_password is needed"),
        **_PROVED,
    },
    "openapi_extra": {
        **_SECURITY,
        **form(
            {"current_password": _PASSWORD},
            ["current_password"],
            {"delete": {"value": {"current_password": "wonderland"}}},
            JSON,
        ),
    },
}

_SESSION: dict[str, Any] = {
    "sid": {**STRING, "format": "uuid"},
    "current": {"type": "boolean"},
    "client_id": STRING,
    "client_name": STRING,
    "started_at": _TIME,
    "last_refreshed_at": {"type": ["string", "null"], "format": "date-time"},
    "expires_at": _TIME,
    "scope": STRING,
    "amr": _STRINGS,
    "address": _MAYBE,
    "user_agent": _MAYBE,
}

_SESSIONS = json_answer(
    "The live sessions, the newest first",
    members(
        "sessions",
        sessions={
            "type": "array",
            "items": members(*_SESSION, **_SESSION),
        },
    ),
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
)

SESSIONS: dict[str, Any] = {
    "summary": "Where am I signed in?",
    "responses": {
        200: {
            **_SESSIONS,
            "links": {
                "end": {
                    "operationId": "end_session",
                    "parameters": {"sid": "$response.body#/sessions/0/sid"},
                    "description": "End the newest.",
                }
            },
        },
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
