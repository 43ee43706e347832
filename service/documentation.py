"""Pieces of the OpenAPI page that several endpoints share."""

from collections.abc import Callable, Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.types import ASGIApp, Receive, Scope, Send

from service.errors import CLIENT_UNPROVEN
from service.http import JSON

STRING: Mapping[str, Any] = {"type": "string"}

_NO_CONTROL = r"[^\x00-\x1f\x7f]"

TEXT: Mapping[str, Any] = {"type": "string", "minLength": 1, "pattern": f"^{_NO_CONTROL}+$"}
"""A parameter that is needed: without a value it counts as not sent."""

OPTIONAL_TEXT: Mapping[str, Any] = {"type": "string", "pattern": f"^{_NO_CONTROL}*$"}

UNCACHED: Mapping[str, Any] = {
    "Cache-Control": {"required": True, "schema": {"type": "string", "const": "no-store"}}
}
RETRY_AFTER: Mapping[str, Any] = {
    "headers": {
        **UNCACHED,
        "Retry-After": {
            "required": True,
            "schema": {"type": "integer", "minimum": 1},
            "description": "seconds",
        },
    }
}
_CHALLENGE: Mapping[str, Any] = {
    "WWW-Authenticate": {
        "required": True,
        "schema": STRING,
        "description": "how to authenticate, and what failed",
    }
}

ERROR_SCHEMA = {
    "type": "object",
    "required": ["error", "error_description"],
    "properties": {
        "error": {"type": "string", "description": "the code of the standard"},
        "error_description": {
            "type": "string",
            "description": "what to do about it, for a developer to read",
        },
    },
}
PROBLEM_SCHEMA = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "what to do about it, for a developer to read"},
        "request_id": {"type": "string", "description": "by which the operator finds it in the log"},
    },
}

UNAVAILABLE_EXAMPLE = {
    "error": "temporarily_unavailable",
    "error_description": "the database cannot be reached or is busy right now; "
    "send the same request again after Retry-After seconds",
}

TOO_MANY_EXAMPLE = {
    "error": "temporarily_unavailable",
    "error_description": "there were too many tries; send the request again after Retry-After seconds, not sooner",
}

CLIENT_FIELDS: Mapping[str, Any] = {
    "client_id": {
        **OPTIONAL_TEXT,
        "description": "The client, unless it authenticates by Basic. Alone, it is a public client's.",
    },
    "client_secret": {
        **OPTIONAL_TEXT,
        "format": "password",
        "description": "The client's secret (client_secret_post). Basic is the better way.",
    },
    "client_assertion_type": {
        "type": "string",
        "enum": ["urn:ietf:params:oauth:client-assertion-type:jwt-bearer"],
        "description": "Says that client_assertion is a JWT (RFC 7523 2.2).",
    },
    "client_assertion": {
        **OPTIONAL_TEXT,
        "description": "A JWT that the client signed for this request (private_key_jwt): "
        "iss and sub are its client_id, aud is the issuer alone, exp at most 5 minutes ahead, jti new.",
    },
}

SECURITY_SCHEMES = {
    "basic": {"type": "http", "scheme": "basic", "description": "client_id and client_secret"},
    "bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"},
}


class DocumentedApp(FastAPI):
    """FastAPI, whose OpenAPI page also says what the security schemes are: our routes authenticate by themselves.

    A request meets what `entrance` puts around the framework before the framework itself.
    """

    def __init__(self, *, entrance: Callable[[ASGIApp], ASGIApp], **options: Any) -> None:
        super().__init__(generate_unique_id_function=_name, **options)
        self._entrance = entrance(super().__call__)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; the lifespan is the framework's."""
        if scope["type"] == "http":
            await self._entrance(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)

    def openapi(self) -> dict[str, Any]:
        """Return the OpenAPI page."""
        page = super().openapi()
        page.setdefault("components", {})["securitySchemes"] = SECURITY_SCHEMES
        return page


def _name(route: APIRoute) -> str:
    return route.name


def oauth_error(description: str, **examples: str) -> dict[str, Any]:
    """Document an error of RFC 6749 5.2, with a description for each of its codes."""
    return {
        "description": description,
        "headers": dict(UNCACHED),
        "content": {
            JSON: {
                "schema": ERROR_SCHEMA,
                "examples": {
                    code: {"value": {"error": code, "error_description": said}}
                    for code, said in examples.items()
                },
            }
        },
    }


def unauthorized(description: str, **examples: str) -> dict[str, Any]:
    """Document a 401 and its challenge."""
    return {**oauth_error(description, **examples), "headers": {**UNCACHED, **_CHALLENGE}}


def problem(status: int, title: str, detail: str) -> dict[str, Any]:
    """Document a problem of RFC 9457."""
    return {
        "description": detail,
        "headers": dict(UNCACHED),
        "content": {
            "application/problem+json": {
                "schema": PROBLEM_SCHEMA,
                "example": {"type": "about:blank", "title": title, "status": status, "detail": detail},
            }
        },
    }


TOO_MANY: Mapping[str, Any] = {
    **problem(429, "Too Many Requests", TOO_MANY_EXAMPLE["error_description"]),
    **RETRY_AFTER,
}
"""What any other endpoint answers then."""

AWAY: Mapping[str, Any] = {
    **problem(
        503, "Service Unavailable", "A part that the answer needs is away; send the same request again."
    ),
    **RETRY_AFTER,
}


def json_answer(
    description: str,
    schema: Mapping[str, Any],
    example: Mapping[str, Any],
    headers: Mapping[str, Any] = UNCACHED,
) -> dict[str, Any]:
    """Document a JSON answer; without other headers, one that no cache may keep."""
    return {
        "description": description,
        "headers": dict(headers),
        "content": {JSON: {"schema": schema, "example": example}},
    }


OAUTH_ERRORS: Mapping[int | str, dict[str, Any]] = {
    401: unauthorized("The client did not prove itself", invalid_client=CLIENT_UNPROVEN),
    403: oauth_error(
        "A page of a site that is no client's had its visitor's browser send it",
        invalid_request="this comes from a page of another site",
    ),
    413: oauth_error("The body is larger than 64 KiB", invalid_request="the body is too large"),
    415: oauth_error(
        "The body is of another type", invalid_request="the body must be a form; set Content-Type to say so"
    ),
    429: {
        "description": "Too much has failed before this, from this address. It was not looked at, right or wrong.",
        **RETRY_AFTER,
        "content": {"application/json": {"schema": ERROR_SCHEMA, "example": TOO_MANY_EXAMPLE}},
    },
    503: {
        "description": "A part that the answer needs is away. Nothing was done; send the same request again.",
        **RETRY_AFTER,
        "content": {JSON: {"schema": ERROR_SCHEMA, "example": UNAVAILABLE_EXAMPLE}},
    },
}
"""What every endpoint that authenticates a client may answer, besides its own 400."""


def form(
    properties: Mapping[str, Any], required: list[str], examples: Mapping[str, Any], *media_types: str
) -> dict[str, Any]:
    """Document a request body by its fields. Others are not looked at, but must be text, too."""

    def schema(media_type: str) -> dict[str, Any]:
        optional = _or_null if media_type == JSON else dict
        return {
            "type": "object",
            "required": required,
            "properties": {
                name: dict(field) if name in required else optional(field)
                for name, field in properties.items()
            },
            "additionalProperties": optional(OPTIONAL_TEXT),
        }

    return {
        "requestBody": {
            "required": True,
            "content": {
                media_type: {"schema": schema(media_type), "examples": examples} for media_type in media_types
            },
        }
    }


def _or_null(field: Mapping[str, Any]) -> dict[str, Any]:
    # In JSON, null counts as not sent, and what may repeat may stand without brackets, too.
    if field["type"] == "array":
        return {**field, "type": ["array", "string", "null"], "items": _or_null(field["items"])}
    values = {"enum": [*field["enum"], None]} if "enum" in field else {}
    return {**field, "type": ["string", "null"], **values}


def members(*required: str, **properties: Any) -> dict[str, Any]:
    """Return the schema of an object; those in `required` are always there."""
    return {"type": "object", "required": list(required), "properties": properties}
