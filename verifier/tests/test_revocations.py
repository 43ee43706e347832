import json
from typing import Any

import pytest

from sealwright import Claims
from sealwright._revocations import BadAnswer, Revocation, Revocations, read_answer

ISSUER = "https://auth.example.com"


def claims(**more: Any) -> Claims:
    made: dict[str, Any] = {"iss": ISSUER, "sub": "u", "client_id": "c", "aud": ("a",), "iat": 0, "exp": 900}
    return Claims(**{**made, "jti": "j", "sid": "s", "uep": 3, "cep": 3, "kid": "k", **more})


def held(*entries: tuple[Any, ...]) -> Revocations:
    revocations = Revocations(leeway=5)
    revocations.put(Revocation(*entry) for entry in entries)
    return revocations


@pytest.mark.parametrize(
    "entry",
    [
        ("jti", "j", None, 900),
        ("sid", "s", None, 900),
        ("kid", "k", None, 900),
        ("sub", "u", None, 900),
        ("sub", "u", 4, 900),
        ("client_id", "c", None, 900),
        ("client_id", "c", 4, 900),
    ],
)
def test_a_revocation_kills_what_it_names_and_nothing_else(entry: tuple[Any, ...]) -> None:
    kind, subject, *rest = entry

    assert held(entry).kill(claims())
    assert not held((kind, f"{subject}2", *rest)).kill(claims())
    assert not held().kill(claims())


@pytest.mark.parametrize(("kind", "claim"), [("sub", "uep"), ("client_id", "cep")])
def test_an_epoch_kills_what_was_made_below_it_or_does_not_say(kind: str, claim: str) -> None:
    revocations = held((kind, "u" if kind == "sub" else "c", 3, 900))

    assert not revocations.kill(claims(**{claim: 3}))
    assert revocations.kill(claims(**{claim: 2}))
    assert revocations.kill(claims(**{claim: None}))


def test_the_later_entry_of_a_subject_holds() -> None:
    revocations = held(("sub", "u", None, 900), ("sub", "u", 3, 900))

    assert not revocations.kill(claims())
    assert len(revocations) == 1


def test_an_entry_is_kept_until_the_leeway_is_over_and_then_dropped() -> None:
    revocations = held(("jti", "j", None, 900))

    revocations.sweep(904.9)
    assert revocations.kill(claims())
    revocations.sweep(960)
    assert len(revocations) == 0


def test_an_entry_that_was_prolonged_outlives_its_first_end() -> None:
    revocations = held(("jti", "j", None, 100), ("jti", "j", None, 900))

    revocations.sweep(200)
    assert revocations.kill(claims())
    revocations.sweep(1000)
    assert len(revocations) == 0


def answer(**more: object) -> bytes:
    made = {"issuer": ISSUER, "snapshot": True, "cursor": "1", "seen_at": 10.5, "now": 12, "revocations": []}
    return json.dumps({**made, **more}).encode()


def test_the_age_of_an_answer_is_by_the_issuers_clock_alone() -> None:
    assert read_answer(answer(), ISSUER).age == 1.5
    assert read_answer(answer(seen_at=13), ISSUER).age == 0


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        answer(issuer="https://other.example.com"),
        answer(snapshot=1),
        answer(cursor=None),
        answer(now="soon"),
        answer(seen_at=None),
        answer(revocations={}),
        answer(revocations=["j"]),
        answer(revocations=[{"jti": "j"}]),
        answer(revocations=[{"jti": "", "exp": 1}]),
        answer(revocations=[{"sub": "u", "epoch": -1, "exp": 1}]),
        answer(revocations=[{"device": "d", "exp": 1}]),
    ],
)
def test_an_answer_with_a_hole_in_it_is_refused_as_a_whole(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(body, ISSUER)
