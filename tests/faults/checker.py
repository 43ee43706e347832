"""The five properties, each a pure look at the history and at what Postgres holds afterwards."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from tests.faults.found import Found, Session
from tests.faults.history import EASY, GRACE, Call, Harm, History, Token
from tests.faults.standing import SECOND, Standing

SIGNED_OUT = "1: who keeps to the protocol is never signed out"
FORKED = "2: no session has two live successors"
ACCEPTED = "3: nothing that was revoked is accepted"
LOST = "4: nothing that was answered is missing"
ANSWERED = "5: every error is told as its standard has it, and service comes back"

BACK = 5.0
"""Seconds after a part is there again within which the service is."""

_TOLD = 0.01
"""Seconds by which the library may round what it knows."""

_REFUSALS = {
    "sign in": "400 invalid_grant",
    "refresh": "400 invalid_grant",
    "introspect": "inactive",
    "me": "401 invalid_token",
    "verify": "revoked",
    "sign out everywhere": "401 invalid_token",
}
"""What a call may be refused with, for a reason."""

_KEEPS_NEWS = {"worker": BACK, "service": BACK, "postgres": BACK, "library": BACK, "feed": 2.0}
"""The parts on the way of a revocation from the record to the library, and the seconds for which each may keep the
news back after it is there again: a connection of the feed is made anew at once, or a second later."""

_OF_USERS = {
    "disable": "user.disabled",
    "enable": "user.enabled",
    "sign out everywhere": "user.signed_out_everywhere",
}
"""What takes back all that a user has, or gives it again, and what the audit calls it."""


@dataclass(frozen=True, slots=True)
class Violation:
    """A property that does not hold."""

    of: str
    what: str
    at: float
    about: frozenset[str]
    """The ids that it is about."""


def check(history: History, found: Found) -> list[Violation]:
    """Return all violations, in the order of their time."""
    standing = Standing(history)
    looks = (
        _signed_out(standing, found),
        _forked(standing, found),
        _accepted(standing),
        _lost(standing, found),
        _answered(standing),
    )
    return sorted((violation for look in looks for violation in look), key=lambda violation: violation.at)


def _about(call: Call) -> frozenset[str]:
    named = {call.sub} | ({call.token.jti, call.token.sid} if call.token else set())
    return frozenset(name for name in named if name)


# 1


def _signed_out(standing: Standing, found: Found) -> Iterator[Violation]:
    for call in standing.history.calls:
        if (
            call.outcome == "refused"
            and call.said == _REFUSALS.get(call.what)
            and not _is_rightful(standing, call)
        ):
            what = f"{call.what} was refused ({call.said}), and nothing had been taken back"
            yield Violation(SIGNED_OUT, what, call.ended, _about(call))
    for sid, birth in standing.births.items():
        sub, row = birth.issued[0].sub, found.sessions.get(sid)
        if row is None or row.end_reason is None or any(standing.of_session(sid, sub)):
            continue
        if not _was_given_up(standing, _last(standing, birth)):
            what = f"the session has ended ({row.end_reason}), and nobody asked for it"
            yield Violation(SIGNED_OUT, what, birth.ended, frozenset({sid}))


def _is_rightful(standing: Standing, call: Call) -> bool:
    sub = call.token.sub if call.token else call.sub
    # A sign-in, or a token of one, that comes before the news that its user is enabled.
    if sub is not None and call.what != "refresh" and standing.may_be_disabled(sub, call):
        return True
    if call.token is None:
        return False
    if standing.may_be_dead(call.token, call.ended):
        return True
    # The service may have exchanged it at the first try, and then counts from there.
    return call.what == "refresh" and call.ended > standing.exchanges[call.token.jti].calls[0].began + GRACE


def _was_given_up(standing: Standing, last: Token) -> bool:
    """Whether no answer came for so long that the client had to let go."""
    tries = standing.exchanges.get(last.jti)
    return tries is not None and tries.calls[-1].ended - tries.calls[0].began > GRACE - 1


# 2


def _forked(standing: Standing, found: Found) -> Iterator[Violation]:
    parents: defaultdict[str, set[str]] = defaultdict(set)
    for jti, exchanges in standing.exchanges.items():
        successors = exchanges.successors
        for successor in successors.values():
            parents[successor.jti].add(jti)
        if len(successors) > 1:
            call = exchanges.calls[-1]
            what = f"one token was exchanged for {len(successors)} different ones"
            yield Violation(FORKED, what, call.ended, _about(call) | successors.keys())
    for jti, before in parents.items():
        if len(before) > 1:
            what = f"{len(before)} tokens have the same successor"
            yield Violation(FORKED, what, 0.0, frozenset({*before, jti}))
    for sid, birth in standing.births.items():
        row, chain = found.sessions.get(sid), list(_chain(standing, birth))
        if row is None or any(len(_successors(standing, token)) > 1 for token in chain):
            continue  # told elsewhere
        last = chain[-1]
        if row.jti != last.jti and not _may_follow(standing, last, row):
            what = "the live token of the session is one that nobody was given or can have asked for"
            yield Violation(FORKED, what, birth.ended, frozenset({sid, last.jti, row.jti}))


def _may_follow(standing: Standing, last: Token, row: Session) -> bool:
    """Whether the row's live token may be the answer that a client did not get."""
    tries = standing.exchanges.get(last.jti)
    asked = tries is not None and any(c.outcome in {"silent", "unavailable", "failed"} for c in tries.calls)
    return asked and row.previous_jti == last.jti


def _chain(standing: Standing, birth: Call) -> Iterator[Token]:
    """Walk from the token of a sign-in along the answered successors."""
    token = next(token for token in birth.issued if token.kind == "refresh")
    seen: set[str] = set()
    while token.jti not in seen:
        yield token
        seen.add(token.jti)
        token = next(iter(_successors(standing, token).values()), token)


def _successors(standing: Standing, token: Token) -> dict[str, Token]:
    exchanges = standing.exchanges.get(token.jti)
    return {} if exchanges is None else exchanges.successors


def _last(standing: Standing, birth: Call) -> Token:
    return list(_chain(standing, birth))[-1]


# 3


def _accepted(standing: Standing) -> Iterator[Violation]:
    for call in standing.history.calls:
        if call.outcome not in {"accepted", "issued"}:
            continue
        if call.token is None:
            if call.what == "sign in" and call.sub is not None and standing.must_be_disabled(call.sub, call):
                yield Violation(ACCEPTED, "a disabled user could sign in", call.ended, _about(call))
            continue
        for taking in standing.killers(call.token):
            if call.what == "refresh":  # decided by the record itself
                late = call.began - taking.call.ended
            elif call.what == "verify":
                late = _late_at_library(standing.history, call, taking.call)
            else:
                late = call.began - taking.holds_from
            if late > 0:
                what = (
                    f"{call.what} accepted a token {call.began - taking.call.ended:.3f} s after the answer to: "
                    f"{taking.call.what} ({late:.3f} s too late)"
                )
                yield Violation(ACCEPTED, what, call.ended, _about(call))
                break


def _late_at_library(history: History, call: Call, taking: Call) -> float:
    """Return how many seconds the library has known, or should have; 0 or less: it need not have known."""
    assert call.seen is not None
    knew = call.seen - taking.ended - _TOLD
    if knew > 0:
        return knew
    late = call.began - taking.ended - SECOND - history.stalled(taking.ended, call.began)
    # It is told within the second, unless something keeps the news from it: neither Redis nor a full pool does.
    kept = any(
        harm.part in _KEEPS_NEWS and harm.overlaps(taking.began - _KEEPS_NEWS[harm.part], call.ended)
        for harm in history.harms
    )
    return 0.0 if kept else late


# 4


def _lost(standing: Standing, found: Found) -> Iterator[Violation]:
    for call in standing.history.calls:
        for what, about in _missing(call, found):
            yield Violation(LOST, f"{call.what} was answered, and Postgres lacks {what}", call.ended, about)
    for sid, birth in standing.births.items():
        row = found.sessions.get(sid)
        if row is None:
            continue  # told above
        chain = list(_chain(standing, birth))
        if row.generation < len(chain) - 1:
            what = f"the session is at generation {row.generation}, and {len(chain) - 1} was answered"
            yield Violation(LOST, what, birth.ended, frozenset({sid, chain[-1].jti}))
        taking = standing.ended_by(sid, birth.issued[0].sub)
        if taking is not None:
            if row.end_reason is None:
                what = f"the session has not ended, and this was answered: {taking.call.what}"
                yield Violation(LOST, what, taking.call.ended, frozenset({sid}))
            elif ("session.ended", sid) not in found.audited:
                what = "the audit does not tell of the session's end"
                yield Violation(LOST, what, taking.call.ended, frozenset({sid}))

    yield from _lost_of_users(standing.history, found)


def _lost_of_users(history: History, found: Found) -> Iterator[Violation]:
    done = sorted(history.calls, key=lambda call: call.ended)
    last = {call.sub: call for call in done if call.sub is not None and call.what in {"disable", "enable"}}
    for sub, call in last.items():
        if call.outcome == "done" and (call.what == "disable") != (sub in found.disabled):
            what = f"{call.what} was answered, and Postgres tells otherwise"
            yield Violation(LOST, what, call.ended, frozenset({sub}))


def _missing(call: Call, found: Found) -> Iterator[tuple[str, frozenset[str]]]:
    """Return what a call that was answered should have left behind and did not."""
    wanted: list[tuple[bool, str]] = []
    match call.what, call.outcome:
        case "sign in", "issued":
            sid = call.issued[0].sid
            wanted = [
                (sid in found.sessions, f"the session {sid}"),
                (("session.started", sid) in found.audited, f"the audit's word of its start ({sid})"),
            ]
        case "revoke", "done" if call.token is not None and call.token.kind == "access":
            jti = call.token.jti
            wanted = [
                (("jti", jti) in found.revoked, "the revocation"),
                (("token.revoked", jti) in found.audited, "the audit's word of it"),
            ]
        case ("disable" | "enable" | "sign out everywhere") as what, "done":
            sub = call.token.sub if call.token else call.sub or ""
            wanted = [((_OF_USERS[what], sub) in found.audited, "the audit's word of it")]
            if what != "enable":
                wanted.append((("sub", sub) in found.revoked, "the revocation"))
        case _:
            pass
    for is_there, lacking in wanted:
        if not is_there:
            yield lacking, _about(call) | {token.sid for token in call.issued}


# 5


def _answered(standing: Standing) -> Iterator[Violation]:
    history = standing.history
    hard = [harm for harm in history.harms if harm.part not in EASY]
    for call in history.calls:
        problem = call.flaw or (call.said if call.outcome == "failed" else None)
        if call.outcome == "refused" and call.said != _REFUSALS.get(call.what):
            problem = f"an error that it does not deserve: {call.said}"
        if problem is not None:
            yield Violation(ANSWERED, f"{call.what} was answered with {problem}", call.ended, _about(call))
        elif _was_let_down(history, call) and not any(_excuses(history, harm, call) for harm in hard):
            what = f"{call.what} got no answer ({call.said}), and every part had been there for {BACK:.0f} s"
            yield Violation(ANSWERED, what, call.ended, _about(call))


def _was_let_down(history: History, call: Call) -> bool:
    if call.who == "the library" or call.said == "given up":
        return False
    if call.outcome == "unavailable":
        return True
    disturbed = any(h.part == "connection" and h.overlaps(call.began, call.ended) for h in history.harms)
    slow = call.said == "no answer in time" and call.ended - call.began < BACK
    return call.outcome == "silent" and not disturbed and not slow


def _excuses(history: History, harm: Harm, call: Call) -> bool:
    """Whether the service need not have come back from it yet."""
    until = harm.back + BACK
    return harm.began <= call.ended and call.began <= until + history.stalled(harm.back, call.began)
