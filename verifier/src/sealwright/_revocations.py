"""The revocations in force, as the issuer's feed tells them: what to hold, for how long, and what they kill.

Pure state: no clock and no network. A look-up is a handful of dictionary accesses, whatever the number held.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from sealwright._claims import Claims
from sealwright._encoding import parse_object

Kind = Literal["jti", "sid", "sub", "client_id", "kid"]

_KINDS: tuple[Kind, ...] = get_args(Kind)
_MAX_TEXT = 1024

_STEP = 60
"""Seconds. Entries that end within one step are dropped together, at its end: a bit late harms nobody."""


class BadAnswer(ValueError):
    """The feed answered something that is not a feed, or not this issuer's. The text may be logged."""


class Revocation(NamedTuple):
    """One entry. `epoch` None: every token of the subject is dead. `exp`: the end of the last token that it kills."""

    kind: Kind
    subject: str
    epoch: int | None
    exp: float


@dataclass(frozen=True, slots=True)
class Answer:
    """What the feed answered at `now`; `age` is how many seconds before the issuer had last seen its record."""

    snapshot: bool
    cursor: str
    now: float
    age: float
    revocations: Sequence[Revocation]


class _Held(NamedTuple):
    epoch: int | None
    until: int


class _Table:
    """The entries of one kind, and which of them end when."""

    __slots__ = ("_due", "held")

    def __init__(self) -> None:
        self.held: dict[str, _Held] = {}
        self._due: dict[int, list[str]] = {}

    def put(self, subject: str, entry: _Held) -> None:
        before = self.held.get(subject)
        self.held[subject] = entry
        if before is None or before.until != entry.until:
            self._due.setdefault(entry.until, []).append(subject)

    def sweep(self, now: float) -> None:
        for until in [until for until in self._due if until <= now]:
            for subject in self._due.pop(until):
                entry = self.held.get(subject)
                if entry is not None and entry.until <= now:  # a later entry may have taken its place
                    del self.held[subject]


class Revocations:
    """What is held in memory. One thread changes it; any may ask."""

    __slots__ = ("_leeway", "_shared", "_tables")

    def __init__(self, leeway: float = 0) -> None:
        self._leeway = leeway
        self._tables = {kind: _Table() for kind in _KINDS}
        # Most entries end in the same few minutes and have no epoch: they share one object each.
        self._shared: dict[_Held, _Held] = {}

    def put(self, revocations: Iterable[Revocation]) -> None:
        """Take entries over; one for a subject that is held replaces what is held."""
        for kind, subject, epoch, exp in revocations:
            until = math.ceil((exp + self._leeway) / _STEP) * _STEP
            entry = _Held(epoch, until)
            self._tables[kind].put(subject, self._shared.setdefault(entry, entry))

    def sweep(self, now: float) -> None:
        """Drop what no token can need any more."""
        for table in self._tables.values():
            table.sweep(now)
        self._shared = {entry: entry for entry in self._shared if entry.until > now}

    def kill(self, claims: Claims) -> bool:
        """Whether one of them kills this token.

        A token that does not say which epoch it was made under is dead under any entry of its subject.
        """
        tables = self._tables
        if claims.jti in tables["jti"].held or claims.kid in tables["kid"].held:
            return True
        if claims.sid is not None and claims.sid in tables["sid"].held:
            return True
        user = tables["sub"].held.get(claims.sub)
        if user is not None and _over(claims.uep, user.epoch):
            return True
        client = tables["client_id"].held.get(claims.client_id)
        return client is not None and _over(claims.cep, client.epoch)

    def __len__(self) -> int:
        return sum(len(table.held) for table in self._tables.values())


def _over(made_under: int | None, epoch: int | None) -> bool:
    return epoch is None or made_under is None or made_under < epoch


def read_answer(body: bytes, issuer: str) -> Answer:
    """Read an answer of the feed.

    Raises:
        BadAnswer: it is none, or another issuer's. Nothing of such an answer may be used: a hole in it
            would be a revoked token that passes.

    """
    members = parse_object(body)
    if members is None:
        raise BadAnswer("the feed's answer is not a JSON object")
    if members.get("issuer") != issuer:
        raise BadAnswer("the feed's answer is another issuer's")
    match members:
        case {"snapshot": bool(snapshot), "cursor": str(cursor), "revocations": list(entries)}:
            now, seen_at = _time(members.get("now")), _time(members.get("seen_at"))
            return Answer(snapshot, cursor, now, max(now - seen_at, 0), [_revocation(e) for e in entries])
    raise BadAnswer("the feed's answer lacks snapshot, cursor or revocations")


def _revocation(entry: object) -> Revocation:
    if type(entry) is not dict:
        raise BadAnswer("an entry of the feed is not an object")
    epoch = entry.get("epoch")
    if epoch is not None and (type(epoch) is not int or epoch < 0):
        raise BadAnswer("an epoch of the feed is not a whole number")
    for kind in _KINDS:
        subject = entry.get(kind)
        if type(subject) is str and 0 < len(subject) <= _MAX_TEXT:
            return Revocation(kind, subject, epoch, _time(entry.get("exp")))
    # A kind that this version does not know would let through what it kills: better a feed that is too old.
    raise BadAnswer("an entry of the feed names nothing that this version knows; update sealwright")


def _time(value: object) -> float:
    if (type(value) is int or type(value) is float) and 0 <= value <= 253_402_300_799:
        return value
    raise BadAnswer("a time of the feed is missing or not a time")
