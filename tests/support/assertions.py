"""What a client with keys of its own does: sign an assertion for each request."""

import json
import time
import uuid
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright import Algorithm, Key
from service.clients.assertions import ASSERTION_TYPE

ISSUER = "http://localhost:8000"


@dataclass(frozen=True)
class Signer:
    """A private key, with the algorithm that it is for."""

    alg: Algorithm = "ES256"

    @cached_property
    def private_key(self) -> Any:
        match self.alg:
            case "RS256" | "PS256":
                return rsa.generate_private_key(65537, 2048)
            case "ES256":
                return ec.generate_private_key(ec.SECP256R1())
            case "EdDSA":
                return ed25519.Ed25519PrivateKey.generate()

    @cached_property
    def key(self) -> Key:
        return Key.from_public_key(self.private_key.public_key(), self.alg)

    def assertion(self, client_id: str, header: dict[str, Any] | None = None, **changed: Any) -> str:
        """A good assertion, or one that differs; a claim or a member of the header that is None is left out."""
        now = int(time.time())
        claims: dict[str, Any] = {
            "iss": client_id,
            "sub": client_id,
            "aud": ISSUER,
            "iat": now,
            "exp": now + 60,
            "jti": str(uuid.uuid4()),
            **changed,
        }
        members = {"kid": self.key.kid, **(header or {})}
        return jwt.encode(
            {name: value for name, value in claims.items() if value is not None},
            self.private_key,
            self.alg,
            # PyJWT leaves `typ` out if it is None, and refuses to write any other so.
            headers={name: value for name, value in members.items() if name == "typ" or value is not None},
        )


def jwks(*signers: Signer) -> str:
    """The JWKS that a client with these keys publishes."""
    return json.dumps({"keys": [signer.key.to_jwk() for signer in signers]})


def proof(assertion: str) -> dict[str, str]:
    """The form's part that carries an assertion."""
    return {"client_assertion_type": ASSERTION_TYPE, "client_assertion": assertion}
