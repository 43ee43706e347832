"""Looking into a token that nobody has verified: for an operator's eyes, never for a decision."""

import base64
import binascii
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_LENGTH = 64 * 1024


class NotAToken(ValueError):
    """The text is no JWT; the words hold nothing of it."""


@dataclass(frozen=True, slots=True)
class Unverified:
    """What a token says. Anybody can have written it."""

    token: str = field(repr=False)
    header: Mapping[str, Any]
    unverified_claims: Mapping[str, Any]

    @property
    def typ(self) -> str:
        """The header's `typ`, as RFC 7515 4.1.9 compares it; empty if there is none."""
        typ = self.header.get("typ")
        return typ.lower().removeprefix("application/") if isinstance(typ, str) else ""


def read(text: str) -> Unverified:
    """Read a JWT with more patience than a verifier has.

    Raises:
        NotAToken: it is none.
    """
    token = text.strip().strip("\"'")
    if token[:6].lower() == "bearer":
        token = token[6:].lstrip(": ")
    if not token:
        raise NotAToken("There is no token: pipe one in, or paste it at the prompt.")
    if len(token) > MAX_LENGTH:
        raise NotAToken(f"This is longer than {MAX_LENGTH} characters: no token is.")
    segments = token.split(".")
    if len(segments) == 5:  # RFC 7516 3.1
        raise NotAToken("This has the five parts of an encrypted JWT (JWE): not one of Sealwright's.")
    if len(segments) != 3:  # RFC 7515 3.1
        raise NotAToken("This is no token: a JWT has three parts with dots between them.")
    return Unverified(token, _object(segments[0], "header"), _object(segments[1], "payload"))


def _object(segment: str, name: str) -> Mapping[str, Any]:
    try:
        data = base64.b64decode(segment + "=" * (-len(segment) % 4), altchars=b"-_", validate=True)
        value = json.loads(data, parse_constant=str, parse_float=_finite)
    except (binascii.Error, ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise NotAToken(f"This is no token: its {name} is not a JSON object in base64url.")
    return value


def _finite(text: str) -> float | str:
    # What is no number in JSON (RFC 8259 6) must not become one where this is written as JSON again.
    number = float(text)
    return number if math.isfinite(number) else text
