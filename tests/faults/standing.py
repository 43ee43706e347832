"""What may, and what must, have become of a token by some moment: drawn from the calls alone.

A call takes effect at one moment between its beginning and its end, nobody knows which. One that was not answered may
take effect later still, or never.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.history import Call, History, Token

SECOND = 1.0
"""Within this a revocation counts everywhere if the one who revoked could not reach Redis."""

STUCK = 20.0
"""Seconds after which a request that was not answered has no effect any more: longer than a process is stopped."""


@dataclass(frozen=True, slots=True)
class Taking:
    """A try to take something back."""

    call: Call
    is_done: bool
    holds_from: float
    """From when nobody may accept what it took; past the end of time if it was not answered."""
    may_act_until: float


@dataclass(frozen=True, slots=True)
class Exchanges:
    """The calls that presented one refresh token."""

    calls: tuple[Call, ...]

    @property
    def successors(self) -> dict[str, Token]:
        """Every refresh token that was answered, by its `jti`."""
        return {token.jti: token for call in self.calls for token in call.issued if token.kind == "refresh"}


class Standing:
    """The history, looked at by what it is about."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.births: dict[str, Call] = {}
        """The sign-in of each session."""
        self.exchanges: dict[str, Exchanges] = {}
        """By the `jti` that was presented."""
        self._takings: defaultdict[tuple[str, str], list[Taking]] = defaultdict(list)
        self._enabled: defaultdict[str, list[Call]] = defaultdict(list)
        presented: defaultdict[str, list[Call]] = defaultdict(list)
        for call in sorted(history.calls, key=lambda call: call.began):
            if call.what == "sign in" and call.outcome == "issued":
                self.births[call.issued[0].sid] = call
            elif call.what == "refresh" and call.token is not None:
                presented[call.token.jti].append(call)
            elif call.what == "enable" and call.sub is not None:
                self._enabled[call.sub].append(call)
            elif call.outcome != "refused" and (subject := _taken_by(call)) is not None:
                self._takings[subject].append(self._taking(call))
        self.exchanges = {jti: Exchanges(tuple(calls)) for jti, calls in presented.items()}

    def _taking(self, call: Call) -> Taking:
        """Say from when what was asked for holds; enabling is told as disabling is."""
        if call.outcome != "done":
            return Taking(call, False, float("inf"), call.ended + STUCK)
        late = any(h.part == "redis" and h.overlaps(call.began, call.ended) for h in self.history.harms)
        grace = SECOND + self.history.stalled(call.ended, call.ended + SECOND) if late else 0.0
        return Taking(call, True, call.ended + grace, call.ended)

    def takings(self, kind: str, subject: str) -> list[Taking]:
        """Return the tries to take this back."""
        return self._takings.get((kind, subject), [])

    def of(self, token: Token) -> Iterator[Taking]:
        """Return what may have taken a token."""
        yield from self.takings("jti", token.jti)
        yield from self.of_session(token.sid, token.sub)

    def of_session(self, sid: str, sub: str) -> Iterator[Taking]:
        """Return what may have ended a session."""
        yield from self.takings("sid", sid)
        for taking in self.takings("sub", sub):
            birth = self.births.get(sid)
            if birth is None or birth.began <= taking.may_act_until:
                yield taking

    def may_be_dead(self, token: Token, by: float) -> bool:
        """Whether there is a reason to refuse it."""
        return any(taking.call.began <= by for taking in self.of(token))

    def killers(self, token: Token) -> Iterator[Taking]:
        """Return what took it for certain."""
        for taking in self.of(token):
            if taking.is_done and (taking.call.what == "revoke" or self._was_there(token.sid, taking)):
                yield taking

    def ended_by(self, sid: str, sub: str) -> Taking | None:
        """Return what ended a session for certain."""
        for taking in self.of_session(sid, sub):
            if taking.is_done and (taking.call.what == "revoke" or self._was_there(sid, taking)):
                return taking
        return None

    def _was_there(self, sid: str, taking: Taking) -> bool:
        # What takes all that a user has takes the sessions that there are; one that begins at that moment may live.
        birth = self.births.get(sid)
        return birth is not None and birth.ended <= taking.call.began

    def may_be_disabled(self, sub: str, call: Call) -> bool:
        """Whether a user may have been shut out at some moment of a call, as far as the one who was asked knows."""
        for taking in self._disabled(sub):
            known = [
                self._taking(each).holds_from
                for each in self._enabled[sub]
                if each.began >= taking.call.ended
            ]
            since = call.began if call.seen is None else min(call.seen, call.began)
            if taking.call.began <= call.ended and since <= min(known, default=float("inf")):
                return True
        return False

    def must_be_disabled(self, sub: str, call: Call) -> bool:
        """Whether a user was shut out for the whole of it."""
        for taking in self._disabled(sub):
            later = [each.began for each in self._enabled[sub] if each.began >= taking.call.ended]
            if (
                taking.is_done
                and taking.call.ended < call.began
                and call.ended < min(later, default=float("inf"))
            ):
                return True
        return False

    def _disabled(self, sub: str) -> Iterator[Taking]:
        return (taking for taking in self.takings("sub", sub) if taking.call.what == "disable")


def _taken_by(call: Call) -> tuple[str, str] | None:
    """Return what a call takes back, as the record names it."""
    match call:
        case Call(what="revoke", token=Token(kind="access", jti=jti)):
            return "jti", jti
        case Call(what="revoke", token=Token(sid=sid)):
            return "sid", sid
        case Call(what="sign out everywhere", token=Token(sub=sub)) | Call(what="disable", sub=str(sub)):
            return "sub", sub
        case _:
            return None
