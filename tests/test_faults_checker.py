"""The checker on histories written by hand: it reports what violates a property, and nothing else."""

from collections.abc import Iterator
from dataclasses import replace

import pytest

from tests.faults.answers import flaw
from tests.faults.checker import ACCEPTED, ANSWERED, FORKED, LOST, SIGNED_OUT, check
from tests.faults.found import Found, Session
from tests.faults.history import GRACE, Call, Harm, History, Operation, Outcome, Part, Stall, Token

ALICE = "alice"


def access(number: int, sid: str = "s") -> Token:
    return Token("access", f"{sid}-a{number}", sid, ALICE)


def refresh(number: int, sid: str = "s") -> Token:
    return Token("refresh", f"{sid}-r{number}", sid, ALICE)


class Story:
    """A history and what Postgres holds in the end, told call by call; each takes a tenth of a second."""

    def __init__(self) -> None:
        self.history = History()
        self.found = Found({}, frozenset(), frozenset(), frozenset())

    def call(
        self,
        at: float,
        what: Operation,
        outcome: Outcome,
        token: Token | None = None,
        *issued: Token,
        lasts: float = 0.1,
        said: str = "",
        seen: float | None = None,
    ) -> "Story":
        sub = None if token else ALICE
        call = Call("a client", what, at, at + lasts, outcome, sub, token, issued, said, seen=seen)
        self.history.calls.append(call)
        return self

    def signed_in(self, at: float = 0.0, sid: str = "s") -> "Story":
        self.found.sessions[sid] = Session(ALICE, refresh(0, sid).jti, None, 0, None)
        self.audited("session.started", sid)
        return self.call(at, "sign in", "issued", None, access(0, sid), refresh(0, sid))

    def refreshed(self, at: float, number: int) -> "Story":
        self.found.sessions["s"] = Session(ALICE, refresh(number).jti, refresh(number - 1).jti, number, None)
        return self.call(at, "refresh", "issued", refresh(number - 1), access(number), refresh(number))

    def revoked(self, at: float, token: Token | None = None, lasts: float = 0.1) -> "Story":
        token = token or refresh(0)
        if token.kind == "access":
            self.recorded("jti", token.jti).audited("token.revoked", token.jti)
        else:
            row = self.found.sessions[token.sid]
            self.found.sessions[token.sid] = replace(row, end_reason="revoked")
            self.recorded("sid", token.sid).audited("session.ended", token.sid)
        return self.call(at, "revoke", "done", token, lasts=lasts)

    def disabled(self, at: float, until: float) -> "Story":
        for sid, row in self.found.sessions.items():
            self.found.sessions[sid] = replace(row, end_reason="user_disabled")
            self.audited("session.ended", sid)
        self.recorded("sub", ALICE).audited("user.disabled", ALICE).audited("user.enabled", ALICE)
        return self.call(at, "disable", "done").call(until, "enable", "done")

    def recorded(self, kind: str, subject: str) -> "Story":
        self.found = replace(self.found, revoked=self.found.revoked | {(kind, subject)})
        return self

    def audited(self, event: str, about: str) -> "Story":
        self.found = replace(self.found, audited=self.found.audited | {(event, about)})
        return self

    def harmed(self, began: float, back: float, part: Part = "redis") -> "Story":
        self.history.harms.append(Harm("harm", part, began, back))
        return self

    @property
    def violated(self) -> set[str]:
        return {violation.of for violation in check(self.history, self.found)}


INACTIVE = "inactive"
INVALID_GRANT = "400 invalid_grant"


def test_a_session_that_goes_on_violates_nothing() -> None:
    story = Story().signed_in().refreshed(1, 1).refreshed(2, 2).call(3, "introspect", "accepted", access(1))

    assert story.violated == set()


# 1


def test_a_client_that_is_signed_out_for_no_reason_is_reported() -> None:
    story = Story().signed_in().call(1, "refresh", "refused", refresh(0), said=INVALID_GRANT)

    assert story.violated == {SIGNED_OUT}


def test_an_access_token_that_is_refused_for_no_reason_is_reported() -> None:
    for what, said in (("introspect", "inactive"), ("me", "401 invalid_token"), ("verify", "revoked")):
        story = Story().signed_in().call(1, what, "refused", access(0), said=said)  # type: ignore[arg-type]

        assert story.violated == {SIGNED_OUT}


def test_a_session_that_ended_without_anybody_noticing_is_reported() -> None:
    story = Story().signed_in()
    story.found.sessions["s"] = replace(story.found.sessions["s"], end_reason="reuse")

    assert story.violated == {SIGNED_OUT}


def test_who_took_a_token_back_is_refused_rightfully_from_the_moment_of_asking() -> None:
    story = (
        Story()
        .signed_in()
        .revoked(1, lasts=2.0)
        .call(1.5, "refresh", "refused", refresh(0), said=INVALID_GRANT)
    )
    assert story.violated == set()

    story = Story().signed_in().revoked(1).call(0.5, "refresh", "refused", refresh(0), said=INVALID_GRANT)
    assert story.violated == {SIGNED_OUT}


def test_one_revoked_token_is_no_reason_to_refuse_another() -> None:
    story = Story().signed_in().refreshed(1, 1).revoked(2, access(0))
    assert story.call(3, "introspect", "refused", access(0), said=INACTIVE).violated == set()
    assert story.call(3, "introspect", "refused", access(1), said=INACTIVE).violated == {SIGNED_OUT}


def test_who_had_no_answer_for_longer_than_the_grace_period_may_be_signed_out_and_nobody_else() -> None:
    def story(last: float) -> Story:
        told = Story().signed_in().call(1, "refresh", "silent", refresh(0), said="given up")
        return told.call(last, "refresh", "refused", refresh(0), said=INVALID_GRANT)

    assert story(1 + GRACE).violated == set()
    assert story(GRACE).violated == {SIGNED_OUT}


def test_a_disabled_user_is_turned_away_rightfully_until_it_is_enabled() -> None:
    def story(at: float) -> Story:
        return Story().disabled(1, until=3).call(at, "sign in", "refused", said=INVALID_GRANT)

    assert story(2).violated == set()
    assert story(2.95).violated == set()
    assert story(4).violated == {SIGNED_OUT}


def test_who_signs_in_after_a_user_was_enabled_keeps_the_session() -> None:
    story = (
        Story().signed_in().disabled(1, until=2).call(3, "refresh", "refused", refresh(0), said=INVALID_GRANT)
    )
    assert story.violated == set()

    story.signed_in(3, "new").call(4, "refresh", "refused", refresh(0, "new"), said=INVALID_GRANT)
    assert story.violated == {SIGNED_OUT}


def test_a_library_refuses_a_user_who_was_enabled_until_it_has_heard_of_it() -> None:
    def story(seen: float) -> Story:
        told = Story().disabled(1, until=2).signed_in(3, "new")
        return told.call(4, "verify", "refused", access(0, "new"), said="revoked", seen=seen)

    assert story(2.05).violated == set()
    assert story(2.2).violated == {SIGNED_OUT}


# 2


def test_two_successors_of_one_token_are_reported() -> None:
    story = Story().signed_in().refreshed(1, 1)
    assert story.call(1, "refresh", "issued", refresh(0), access(2), refresh(1)).violated == set()
    assert story.call(1, "refresh", "issued", refresh(0), access(3), refresh(7)).violated == {FORKED}


def test_one_successor_of_two_tokens_is_reported() -> None:
    story = Story().signed_in().refreshed(1, 1).refreshed(2, 2)

    assert FORKED in story.call(3, "refresh", "issued", refresh(0), access(3), refresh(2)).violated


def test_a_live_token_that_nobody_was_given_is_reported_unless_somebody_still_waits_for_it() -> None:
    story = Story().signed_in().refreshed(1, 1)
    story.found.sessions["s"] = Session(ALICE, "another", refresh(1).jti, 2, None)
    assert story.violated == {FORKED}

    assert story.call(2, "refresh", "silent", refresh(1), said="given up").violated == set()


# 3


@pytest.mark.parametrize(
    ("what", "outcome", "token"),
    [
        ("introspect", "accepted", access(0)),
        ("me", "accepted", access(0)),
        ("refresh", "issued", refresh(0)),
    ],
)
def test_what_was_revoked_and_is_accepted_later_is_reported(
    what: Operation, outcome: Outcome, token: Token
) -> None:
    def story(at: float) -> Story:
        return Story().signed_in().revoked(1).call(at, what, outcome, token)

    assert ACCEPTED in story(1.2).violated
    assert ACCEPTED not in story(1.05).violated, "it began before the answer"


def test_a_single_token_that_was_revoked_and_is_accepted_later_is_reported() -> None:
    story = Story().signed_in().refreshed(1, 1).revoked(2, access(0))

    assert story.call(3, "introspect", "accepted", access(1)).violated == set()
    assert story.call(3, "introspect", "accepted", access(0)).violated == {ACCEPTED}


def test_where_redis_was_away_a_revocation_has_a_second() -> None:
    def story(at: float) -> Story:
        return Story().signed_in().harmed(0.5, 1.05).revoked(1).call(at, "introspect", "accepted", access(0))

    assert story(1.5).violated == set()
    assert story(2.2).violated == {ACCEPTED}
    stalled = story(2.2)
    stalled.history.stalls.append(Stall(1.5, 1.9))
    assert stalled.violated == set(), "for so long nobody was run"


def test_what_decides_in_postgres_has_no_second() -> None:
    story = Story().signed_in().harmed(0.5, 1.05).revoked(1)

    assert ACCEPTED in story.call(1.2, "refresh", "issued", refresh(0), access(1), refresh(1)).violated


def test_an_unanswered_revocation_promises_nothing() -> None:
    story = Story().signed_in().call(1, "revoke", "silent", refresh(0), said="given up")

    assert story.call(2, "introspect", "accepted", access(0)).violated == set()
    assert story.call(3, "introspect", "refused", access(0), said=INACTIVE).violated == set()


def test_a_token_made_before_its_user_was_disabled_stays_dead_once_the_user_is_enabled() -> None:
    story = Story().signed_in().disabled(1, until=2)
    assert story.call(3, "me", "accepted", access(0)).violated == {ACCEPTED}


def test_a_sign_in_of_a_disabled_user_is_reported() -> None:
    story = Story().disabled(1, until=3).signed_in(2)

    assert ACCEPTED in story.violated


def test_a_library_may_accept_until_it_knows_and_in_quiet_times_for_a_second() -> None:
    def story(at: float, seen: float, part: Part | None = None) -> set[str]:
        told = Story().signed_in().revoked(1)
        if part is not None:
            told.harmed(1.2, 1.2, part)
        return told.call(at, "verify", "accepted", access(0), seen=seen).violated

    assert story(1.5, 0.9) == set()
    assert story(1.5, 1.3) == {ACCEPTED}, "it knew"
    assert story(2.5, 0.9) == {ACCEPTED}, "nothing kept the news from it"
    assert story(2.5, 0.9, "feed") == set()
    assert story(2.5, 0.9, "redis") == {ACCEPTED}, "it is found in Postgres"
    assert story(2.5, 0.9, "pool") == {ACCEPTED}


# 4


def test_a_session_that_is_not_there_any_more_is_reported() -> None:
    story = Story().signed_in()
    story.found.sessions.clear()

    assert story.violated == {LOST}


def test_a_rotation_that_is_not_there_any_more_is_reported() -> None:
    story = Story().signed_in().refreshed(1, 1).refreshed(2, 2)
    story.found.sessions["s"] = Session(ALICE, refresh(1).jti, refresh(0).jti, 1, None)

    assert LOST in story.violated


def test_a_revocation_that_is_not_there_any_more_is_reported() -> None:
    for token in (access(0), refresh(0)):
        story = Story().signed_in().revoked(1, token)
        assert story.violated == set()
        story.found = replace(
            story.found,
            revoked=frozenset(),
            sessions={"s": Session(ALICE, refresh(0).jti, None, 0, None)},
        )
        assert story.violated == {LOST}


def test_a_word_of_the_audit_that_is_missing_is_reported() -> None:
    story = Story().signed_in().refreshed(1, 1).revoked(2, access(0)).revoked(3)
    story.signed_in(3, "other").disabled(4, until=5)
    assert story.violated == set()

    for event in list(story.found.audited):
        lacking = replace(story.found, audited=story.found.audited - {event})
        assert {violation.of for violation in check(story.history, lacking)} == {LOST}, event


@pytest.mark.parametrize(("last", "is_disabled"), [("disable", False), ("enable", True)])
def test_what_an_operator_did_last_to_a_user_and_postgres_does_not_tell_is_reported(
    last: Operation, *, is_disabled: bool
) -> None:
    story = Story().signed_in().disabled(1, until=2)
    if last == "disable":
        story.call(3, "disable", "done")
    story.found = replace(story.found, disabled=frozenset({ALICE} if is_disabled else ()))

    assert story.violated == {LOST}


# 5


def test_an_error_that_is_not_of_the_standard_is_reported() -> None:
    story = Story().signed_in()
    assert story.call(1, "introspect", "failed", access(0), said="500").violated == {ANSWERED}

    story = Story().signed_in().call(1, "me", "refused", access(0), said="403 insufficient_scope")
    assert story.violated == {ANSWERED}


def test_503_is_reported_unless_a_part_was_away_within_five_seconds() -> None:
    def story(at: float) -> Story:
        return Story().signed_in().harmed(1, 2, "postgres").call(at, "refresh", "unavailable", refresh(0))

    assert story(0.5).violated == {ANSWERED}
    assert story(1.5).violated == set()
    assert story(6.9).violated == set()
    assert story(7.1).violated == {ANSWERED}
    stalled = story(7.1)
    stalled.history.stalls.append(Stall(2.5, 2.9))
    assert stalled.violated == set()


def test_no_answer_is_reported_unless_the_connection_was_disturbed_or_the_client_impatient() -> None:
    def story(lasts: float, said: str, *, disturbed: bool = False) -> set[str]:
        told = Story().signed_in()
        if disturbed:
            told.harmed(1.2, 1.2, "connection")
        return told.call(1, "refresh", "silent", refresh(0), lasts=lasts, said=said).violated

    assert story(0.3, "ReadError") == {ANSWERED}
    assert story(7.0, "no answer in time") == {ANSWERED}
    assert story(0.8, "no answer in time") == set()
    assert story(0.8, "given up") == set()
    assert story(0.3, "ReadError", disturbed=True) == set()


Shape = tuple[str, str, int, dict[str, str], bytes]
"""What is wrong with it, and then the path, the status, the headers and the body."""


def shapes() -> Iterator[Shape]:
    stored = {"cache-control": "no-store", "content-type": "application/json"}
    told = b'{"error": "invalid_grant", "error_description": "why"}'
    problem = {**stored, "content-type": "application/problem+json"}
    yield "", "/token", 200, {}, b"{}"
    yield "", "/token", 400, stored, told
    yield "", "/token", 503, {**stored, "retry-after": "1"}, told
    yield "", "/me", 401, {**stored, "www-authenticate": "Bearer"}, told
    yield "", "/me", 404, problem, b'{"status": 404, "title": "Not Found", "detail": "why"}'
    yield "status 500", "/token", 500, stored, told
    yield "status 302", "/token", 302, stored, told
    yield "retry-after", "/token", 503, stored, told
    yield "www-authenticate", "/me", 401, stored, told
    yield "may be stored", "/token", 400, {"content-type": "application/json"}, told
    yield "no JSON", "/token", 400, stored, b"<html>"
    yield "no JSON object", "/token", 400, stored, b"[]"
    yield "error_description", "/token", 400, stored, b'{"error": "invalid_grant"}'
    yield (
        "without its members",
        "/me",
        404,
        problem,
        b'{"status": 500, "title": "Not Found", "detail": "why"}',
    )
    yield "Content-Type", "/me", 400, {**stored, "content-type": "text/plain"}, told


@pytest.mark.parametrize(("wrong", "path", "status", "headers", "body"), list(shapes()))
def test_the_shape_of_each_answer_is_looked_at(
    wrong: str, path: str, status: int, headers: dict[str, str], body: bytes
) -> None:
    told = flaw(path, status, headers, body)

    assert (told is None) == (not wrong)
    assert wrong in (told or "")
