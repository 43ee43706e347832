"""The issuer's metadata (RFC 8414), made once: what it can do and where."""

import json
from collections.abc import Iterable
from typing import get_args

from sealwright import Algorithm
from service.clients.store import GRANT_TYPES
from service.settings import Settings

PATHS = ("/.well-known/oauth-authorization-server", "/.well-known/openid-configuration")
JWKS_PATH = "/.well-known/jwks.json"


def document(settings: Settings) -> bytes:
    """Return the metadata document."""
    issuer = settings.issuer
    methods = ("client_secret_basic", "client_secret_post", "private_key_jwt", "none")
    algorithms = get_args(Algorithm)
    return json.dumps(
        {
            "issuer": issuer,
            "token_endpoint": f"{issuer}/token",
            "token_endpoint_auth_methods_supported": methods,
            "token_endpoint_auth_signing_alg_values_supported": algorithms,
            "jwks_uri": f"{issuer}{JWKS_PATH}",
            "grant_types_supported": GRANT_TYPES,
            "response_types_supported": (),
            "revocation_endpoint": f"{issuer}/revoke",
            "revocation_endpoint_auth_methods_supported": methods,
            "revocation_endpoint_auth_signing_alg_values_supported": algorithms,
            "introspection_endpoint": f"{issuer}/introspect",
            "introspection_endpoint_auth_methods_supported": _confidential(methods),
            "introspection_endpoint_auth_signing_alg_values_supported": algorithms,
            # Ours: no standard has a name for it (RFC 8414 2 lets us add one).
            "revocation_feed": f"{issuer}/revocations",
            **({"service_documentation": f"{issuer}/docs"} if settings.development else {}),
        },
        separators=(",", ":"),
    ).encode()


def _confidential(methods: Iterable[str]) -> list[str]:
    return [method for method in methods if method != "none"]
