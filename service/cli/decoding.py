"""What can be found out about a token, each finding for itself: a part that is missing spoils only its own."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime

from sealwright import (
    Claims,
    Expectations,
    InvalidToken,
    KeySet,
    check_registered,
    key_id,
    verify,
    verify_signed,
)
from service import schema
from service.cli.connect import opened
from service.cli.ring import opened_ring
from service.cli.words import ago
from service.errors import Unavailable
from service.introspection import standing
from service.introspection.standing import Revoked, Session
from service.settings import Settings, SettingsError, load
from service.signing import KeyRingError, rules
from service.tokens import Refresh
from service.tokens.reading import ACCESS_LEEWAY, ALGORITHMS, as_refresh
from service.tokens.unverified import Unverified

ACCESS, REFRESH = "at+jwt", "rt+jwt"


@dataclass(frozen=True, slots=True)
class Finding:
    """Whether something is as it should be, and in words; `good` None: it could not be found out."""

    good: bool | None
    says: str


@dataclass(frozen=True, slots=True)
class Findings:
    """All that was found out. Each is looked for only where the one before it allows."""

    signature: Finding
    validity: Finding
    standing: Finding

    @property
    def good(self) -> bool | None:
        """Whether the token would be taken now; None if not everything could be found out."""
        all_ = {self.signature.good, self.validity.good, self.standing.good}
        return False if False in all_ else None if None in all_ else True


async def find_out(token: Unverified) -> Findings:
    """Look at everything that there is to look at: keys, settings, Postgres."""
    now = time.time()
    signature, keys = await _signature(token, now)
    if not signature.good:
        unknown = Finding(None, "not looked at: nothing proves that the token is ours")
        return Findings(signature, unknown, unknown)
    try:
        settings = load()
    except SettingsError as error:
        unknown = Finding(None, f"not looked at: {str(error).splitlines()[0]}")
        return Findings(signature, unknown, unknown)
    validity, claims = _validity(token, keys, settings, now)
    if claims is None:
        return Findings(signature, validity, Finding(None, "not looked at"))
    return Findings(signature, validity, await _standing(settings, claims, now))


async def _signature(token: Unverified, now: float) -> tuple[Finding, KeySet]:
    try:
        async with opened_ring() as ring:
            entries = ring.store.parse(await ring.store.read())
    except Unavailable as error:
        return Finding(None, f"not checked: Postgres cannot be reached ({error.detail})"), KeySet()
    except (SettingsError, KeyRingError) as error:
        return Finding(None, f"not checked: {error}"), KeySet()
    # Retired keys too, for as long as the ring has them: a token of last week is still known as ours.
    keys = KeySet(entry.key for entry in entries)
    if token.typ not in {ACCESS, REFRESH}:
        return Finding(False, f"no token of Sealwright's: typ is neither {ACCESS} nor {REFRESH}"), keys
    try:
        verify_signed(token.token, keys, typ=token.typ, algorithms=ALGORITHMS)
    except InvalidToken as error:
        return Finding(False, f"does not hold here: {error.detail}"), keys
    [entry] = [entry for entry in entries if entry.kid == token.header["kid"]]
    state = rules.state(entries, entry, datetime.fromtimestamp(now, UTC))
    return Finding(True, f"holds: made with this deployment's key, {state} now"), keys


def _validity(
    token: Unverified, keys: KeySet, settings: Settings, now: float
) -> tuple[Finding, Claims | Refresh | None]:
    def read(at: float) -> Claims | Refresh:
        if token.typ == ACCESS:
            expect = Expectations(
                issuer=settings.issuer, audience=None, algorithms=ALGORITHMS, leeway=ACCESS_LEEWAY
            )
            return verify(token.token, keys, expect, now=at)
        payload = verify_signed(token.token, keys, typ=REFRESH, algorithms=ALGORITHMS)
        leeway = settings.leeway.total_seconds()
        issuer = settings.issuer
        claims = check_registered(payload, issuer=issuer, audience=issuer, now=at, leeway=leeway)
        return as_refresh(claims, key_id(token.token))

    try:
        return Finding(True, "made by this issuer, and in time"), read(now)
    except InvalidToken as error:
        refused = Finding(False, f"not valid: {error.detail}")
    # What has become of a token that is over is worth knowing as well: read it as of when it was made.
    made_at = token.unverified_claims.get("iat")
    try:
        return refused, read(made_at) if isinstance(made_at, int | float) else None
    except InvalidToken:
        return refused, None


async def _standing(settings: Settings, claims: Claims | Refresh, now: float) -> Finding:
    try:
        async with opened(settings) as database:
            await schema.require(database)
            async with database.transaction(snapshot=True) as db:
                if isinstance(claims, Claims):
                    revoked = await standing.of_access(db, claims)
                    return Finding(True, "not revoked") if revoked is None else _revoked(revoked, now)
                found = await standing.of_refresh(db, claims, settings.refresh_grace)
                return _revoked(found, now) if isinstance(found, Revoked) else _of_refresh(found, now)
    except Unavailable as error:
        return Finding(None, f"not known: Postgres cannot be reached ({error.detail})")
    except (schema.SchemaError, ValueError) as error:
        return Finding(None, f"not known: {error}")


def _revoked(revoked: Revoked, now: float) -> Finding:
    when = ago(revoked.at.timestamp(), now)
    what = {
        "token": "by itself",
        "session": "with its session",
        "user": "with all tokens of its user",
        "client": "with all tokens of its client",
        "key": "with everything that its key signed",
    }[revoked.what]
    return Finding(False, f"revoked {when}, {what}: {revoked.reason.replace('_', ' ')}")


def _of_refresh(session: Session | None, now: float) -> Finding:
    if session is None:
        return Finding(False, "its session is not known here, or over for so long that it was forgotten")
    exchanged = ago(session.refreshed_at.timestamp(), now)
    over = ago(session.over_at.timestamp(), now)
    match session.verdict:
        case "rotate":
            return Finding(True, f"the live one of its session (generation {session.generation})")
        case "replay":
            return Finding(
                True, f"exchanged {exchanged}, within the grace period: it gets the same successor again"
            )
        case "reuse":
            return Finding(False, "exchanged before: whoever presents it ends the session")
        case "over":
            why = (
                f"ended {over}: {session.end_reason.replace('_', ' ')}"
                if session.end_reason
                else f"expired {over}"
            )
            return Finding(False, f"its session {why}")
        case None:
            return Finding(False, "its user or client is disabled, or was since the session began")
