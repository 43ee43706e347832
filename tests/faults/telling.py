"""What a run comes to, for people: a row of the table, and the slice of the history behind a violation."""

from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet

from tests.faults.checker import Violation
from tests.faults.history import EASY, Call, Harm, History, Token
from tests.faults.run import Run

HEAD = (
    "seed",
    "calls",
    "sessions",
    "exchanged",
    "taken back",
    "no answer",
    "503",
    "harms",
    "connections",
    "back after",
    "load",
    "violations",
)

_BEFORE = 3.0
"""Seconds of other harm to show before what a session went through."""

_MOST = 80
"""Lines of a slice; of a longer one, the end."""


def row(run: Run) -> tuple[str, ...]:
    """Return the row of a run."""
    calls, harms = run.history.calls, run.history.harms
    outcomes = Counter(call.outcome for call in calls)
    kinds = Counter((call.what, call.outcome) for call in calls)
    disturbed = sum(harm.single for harm in harms)
    return (
        str(run.plan.seed),
        str(len(calls)),
        str(kinds["sign in", "issued"]),
        str(kinds["refresh", "issued"]),
        str(outcomes["done"]),
        str(outcomes["silent"]),
        str(outcomes["unavailable"]),
        str(len(harms) - disturbed),
        str(disturbed),
        f"{back_after(run.history):.1f} s",
        f"{run.load[0]:.1f} → {run.load[1]:.1f}",
        str(len(run.violations)),
    )


def line(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def back_after(history: History) -> float:
    """Return the longest time from when every part was there again to the last 503."""
    longest = 0.0
    for call in history.calls:
        if call.outcome == "unavailable" and call.who != "the library":
            before = [h.back for h in history.harms if h.part not in EASY and h.began <= call.ended]
            longest = max(longest, call.ended - max(before, default=0.0))
    return longest


def told(run: Run) -> Iterator[str]:
    """Yield what the operator should see of each violation: the property, and what led to it."""
    for violation in run.violations:
        yield f"seed {run.plan.seed} at {violation.at:.3f} s, property {violation.of}: {violation.what}"
        slice_ = sorted(_slice(run.history, violation))
        if len(slice_) > _MOST:
            yield f"  … {len(slice_) - _MOST} lines before these"
        yield from (text for _, text in slice_[-_MOST:])


def _slice(history: History, violation: Violation) -> Iterator[tuple[float, str]]:
    about = violation.about
    whose = {token.sub for call in history.calls for token in _tokens(call) if token.sid in about}
    calls = [call for call in history.calls if _concerns(call, about, whose)]
    began = min((call.began for call in calls), default=violation.at) - _BEFORE
    ended = max((call.ended for call in calls), default=violation.at)
    for harm in history.harms:
        if harm.overlaps(began, ended) and (not harm.single or _meets(harm, calls)):
            yield harm.began, _harm(harm)
    for call in calls:
        yield call.began, _call(call)


def _meets(harm: Harm, calls: Sequence[Call]) -> bool:
    """Whether one connection's harm may be one of these calls'."""
    return any(harm.overlaps(call.began, call.ended) for call in calls)


def _concerns(call: Call, about: AbstractSet[str], whose: AbstractSet[str]) -> bool:
    tokens = _tokens(call)
    if call.what in {"sign out everywhere", "disable", "enable"}:  # it concerns all that a user has
        return not (about | whose).isdisjoint({call.sub, *(token.sub for token in tokens)})
    return not about.isdisjoint({call.sub, *(name for token in tokens for name in (token.jti, token.sid))})


def _tokens(call: Call) -> list[Token]:
    return [token for token in (call.token, *call.issued) if token is not None]


def _harm(harm: Harm) -> str:
    return f"  {harm.began:8.3f} to {harm.back:8.3f}  ### {harm.what}"


def _call(call: Call) -> str:
    shown = f" {call.token.kind} {call.token.jti[:8]} of {call.token.sid[:8]}" if call.token else ""
    got = "".join(f", {token.kind} {token.jti[:8]} of {token.sid[:8]}" for token in call.issued)
    said = f" ({call.said})" if call.said else ""
    return (
        f"  {call.began:8.3f} to {call.ended:8.3f}  {call.who}: {call.what}{shown}: {call.outcome}{said}{got}"
    )
