"""What can be revoked, and which tokens a revocation kills: pure rules, shared by Redis and Postgres."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sealwright import Claims

Kind = Literal["jti", "sid", "sub", "client_id", "kid"]

Reason = Literal[
    "revoked",  # by its client, at /revoke
    "logout",
    "logout_all",
    "reuse",  # of a refresh token that was already exchanged
    "password_changed",
    "password_reset",
    "roles_changed",
    "user_disabled",
    "user_deleted",
    "user_updated",  # by an import
    "user_enabled",  # supersedes user_disabled: what was made before stays dead
    "client_disabled",
    "client_enabled",
    "key_compromised",
    "administrator",
    "restored",  # whatever was revoked since the backup: nobody knows any more
]


@dataclass(frozen=True, slots=True)
class Revocation:
    """One entry of the record. `epoch` None: every token of the subject is dead, whatever its epoch."""

    kind: Kind
    subject: str
    reason: Reason
    lifetime: timedelta
    epoch: int | None = None


@dataclass(frozen=True, slots=True)
class Kill:
    """What a look-up found for one subject of a token."""

    kind: Kind
    epoch: int | None


def subjects(claims: Claims) -> tuple[tuple[Kind, str], ...]:
    """Name everything whose revocation would kill this access token."""
    named: list[tuple[Kind, str]] = [
        ("jti", claims.jti),
        ("client_id", claims.client_id),
        ("kid", claims.kid),
    ]
    if claims.sid is not None:
        named.append(("sid", claims.sid))
    if claims.uep is not None:
        named.append(("sub", claims.sub))
    return tuple(named)


def dead(claims: Claims, kills: Iterable[Kill]) -> bool:
    """Whether one of the revocations found for a token's subjects kills it."""
    made_under = {"sub": claims.uep, "client_id": claims.cep}
    for kill in kills:
        epoch = made_under.get(kill.kind)
        if kill.epoch is None or epoch is None or epoch < kill.epoch:
            return True
    return False
