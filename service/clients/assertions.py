"""Client assertions (RFC 7523 3): a client signs, for each request, who it is."""

import math
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from sealwright import InvalidToken, KeySet, verify_signed
from service.clients.tables import used_assertions
from service.database import Connection, Statement, deleting_over
from service.settings import STALENESS
from service.tokens import unverified
from service.tokens.reading import ALGORITHMS

ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
LONGEST = 300.0
"""How many seconds ahead `exp` may be at the most: a stolen assertion is soon worth nothing."""
LEEWAY = 30.0
"""Seconds that a client's clock may differ from ours."""
MAX_JTI = 256

# "JWT" and no `typ` are what libraries send; the third is draft-ietf-oauth-rfc7523bis's. Any other says that the
# client signed it for something else.
_TYPES = frozenset({"", "jwt", "client-authentication+jwt"})


@dataclass(frozen=True, slots=True)
class Unproven:
    """An assertion as it came: anybody can have written it."""

    token: str = field(repr=False)
    client_id: str
    typ: str
    kid: str


@dataclass(frozen=True, slots=True)
class Proof:
    """An assertion whose signature and claims hold. It counts once."""

    client_id: str
    jti: str
    expires_at: datetime


def read(token: str) -> Unproven:
    """Read whom an assertion names.

    Raises:
        InvalidToken: it is none, or it was made for something else.
    """
    try:
        jwt = unverified.read(token)
    except unverified.NotAToken:
        raise InvalidToken("malformed", "not a JWT") from None
    client_id, kid = jwt.unverified_claims.get("sub"), jwt.header.get("kid")
    if not isinstance(client_id, str) or not isinstance(kid, str):
        raise InvalidToken("claims", "sub or kid is missing or not a string")
    if jwt.typ not in _TYPES:
        raise InvalidToken("type", "typ is not one of a client assertion")
    return Unproven(token, client_id, jwt.typ, kid)


def verify(assertion: Unproven, keys: KeySet, issuer: str, now: float) -> Proof:
    """Verify an assertion by its client's keys.

    `aud` is the issuer and nothing beside it: an assertion that names a token endpoint, or another server as well,
    may have been made for that one (draft-ietf-oauth-rfc7523bis).

    Raises:
        InvalidToken: the signature is not the client's, or a claim does not hold at `now` (seconds since 1970).
    """
    claims = verify_signed(assertion.token, keys, typ=assertion.typ, algorithms=ALGORITHMS)
    if claims.get("iss") != assertion.client_id or claims.get("sub") != assertion.client_id:
        raise InvalidToken("issuer", "iss and sub are not both the client")
    if claims.get("aud") not in (issuer, [issuer]):
        raise InvalidToken("audience", "aud is not the issuer alone")
    exp = _time(claims, "exp")
    if exp is None:
        raise InvalidToken("claims", "exp is missing")
    if exp + LEEWAY <= now:
        raise InvalidToken("expired", "exp has passed")
    if exp > now + LONGEST + LEEWAY:
        raise InvalidToken("claims", f"exp is more than {LONGEST:.0f} s ahead")
    if max(_time(claims, "nbf") or 0, _time(claims, "iat") or 0) > now + LEEWAY:
        raise InvalidToken("not_yet_valid", "nbf or iat is in the future")
    jti = claims.get("jti")
    if not isinstance(jti, str) or not 1 <= len(jti) <= MAX_JTI:
        raise InvalidToken("claims", f"jti is not a string of 1 to {MAX_JTI} characters")
    return Proof(assertion.client_id, jti, datetime.fromtimestamp(exp, UTC))


def _time(claims: dict[str, object], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    # Bounded before it is compared: an int of any length is JSON as well.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**40:
        raise InvalidToken("claims", f"{name} is not a time")
    return math.floor(value)


_use = Statement(
    insert(used_assertions)
    .values(digest=sa.bindparam("digest"), expires_at=sa.bindparam("expires_at"))
    .on_conflict_do_nothing()
    .returning(used_assertions.c.expires_at)
)
_delete_over = deleting_over(used_assertions.c.digest, used_assertions.c.expires_at)
# Replicas' clocks and Postgres's differ; what is deleted too early could be used again.
_KEPT_LONGER = timedelta(seconds=LEEWAY) + STALENESS


async def use(db: Connection, proof: Proof) -> bool:
    """Use an assertion up. False: its `jti` was used before, or is being used at this moment (RFC 7523 3, 7)."""
    digest = sha256(f"{proof.client_id}\0{proof.jti}".encode()).digest()
    row = await db.row(_use, digest=digest, expires_at=proof.expires_at + _KEPT_LONGER)
    return row is not None


async def delete_over(db: Connection, batch: int) -> int:
    """Delete what no replica accepts any more; return how many."""
    return len(await db.rows(_delete_over, batch=batch))
