import dataclasses
from collections.abc import Callable

import pytest

from sealwright import (
    Claims,
    Expectations,
    InvalidToken,
    KeySet,
    Registered,
    check_registered,
    verify,
    verify_signed,
)

Sign = Callable[..., str]
Payload = dict[str, object]

ISSUER = "https://auth.example.com"
AUDIENCE = "https://orders.example.com"
NOW = 1_800_000_000
LEEWAY = 5


def reason(token: str, keys: KeySet, expect: Expectations, now: float = NOW) -> str:
    with pytest.raises(InvalidToken) as refused:
        verify(token, keys, expect, now=now)
    return refused.value.reason


def kid_of(keys: KeySet, alg: str) -> str:
    [kid] = [key.kid for key in keys.values() if key.alg == alg]
    return kid


def test_the_claims_of_a_users_token(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    payload |= {
        "aud": [AUDIENCE, "https://stock.example.com"],
        "scope": "orders:read orders:write",
        "roles": ["admin", "buyer"],
        "sid": "ses_1",
        "auth_time": NOW - 60,
        "amr": ["pwd", "otp"],
        "uep": 3,
        "cep": 0,
        "nbf": NOW,
        "unknown": {"is": "ignored"},
    }
    assert verify(sign(payload), keys, expect, now=NOW) == Claims(
        iss=ISSUER,
        sub="usr_1",
        client_id="web",
        aud=(AUDIENCE, "https://stock.example.com"),
        iat=NOW,
        exp=NOW + 900,
        jti="jti-1",
        nbf=NOW,
        scope=frozenset({"orders:read", "orders:write"}),
        sid="ses_1",
        roles=("admin", "buyer"),
        auth_time=NOW - 60,
        amr=("pwd", "otp"),
        uep=3,
        cep=0,
        kid=kid_of(keys, "RS256"),
    )


def test_the_claims_of_a_clients_token(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    claims = verify(sign(payload), keys, expect, now=NOW)
    assert claims == Claims(
        iss=ISSUER,
        sub="usr_1",
        client_id="web",
        aud=(AUDIENCE,),
        iat=NOW,
        exp=NOW + 900,
        jti="jti-1",
        kid=kid_of(keys, "RS256"),
    )
    assert (claims.scope, claims.roles, claims.amr) == (frozenset(), (), ())
    assert (claims.sid, claims.auth_time, claims.uep, claims.cep, claims.nbf) == (None,) * 5


def test_claims_do_not_change(keys: KeySet, sign: Sign, payload: Payload, expect: Expectations) -> None:
    claims = verify(sign(payload), keys, expect, now=NOW)
    with pytest.raises(dataclasses.FrozenInstanceError):
        claims.sub = "usr_2"  # type: ignore[misc]  # the point
    assert not hasattr(claims, "__dict__")
    assert hash(claims) == hash(dataclasses.replace(claims))


@pytest.mark.parametrize("alg", ["PS256", "ES256", "EdDSA"])
def test_an_algorithm_is_accepted_only_if_it_is_expected(
    alg: str, keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    token = sign(payload, by=alg)
    assert reason(token, keys, expect) == "algorithm"
    with_it = Expectations(issuer=ISSUER, audience=AUDIENCE, algorithms=("RS256", alg))  # type: ignore[arg-type]  # a str of the table above
    assert verify(token, keys, with_it, now=NOW).sub == "usr_1"


@pytest.mark.parametrize(
    "iss", ["https://auth.example.com/", "https://AUTH.example.com", "http://auth.example.com", "x"]
)
def test_iss_is_the_issuer_letter_for_letter(
    iss: str, keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    assert reason(sign(payload | {"iss": iss}), keys, expect) == "issuer"


@pytest.mark.parametrize(
    "aud",
    ["https://stock.example.com", AUDIENCE + "/", AUDIENCE.upper(), [AUDIENCE + "x", "y"], [AUDIENCE[:-1]]],
)
def test_aud_names_the_audience_letter_for_letter(
    aud: object, keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    token = sign(payload | {"aud": aud})
    assert reason(token, keys, expect) == "audience"
    anyone = Expectations(issuer=ISSUER, audience=None)
    assert verify(token, keys, anyone, now=NOW).aud == tuple(aud if isinstance(aud, list) else [aud])


def test_a_token_is_over_from_exp_and_the_leeway_on(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    token = sign(payload)
    end = NOW + 900 + LEEWAY
    assert verify(token, keys, expect, now=end - 0.001).exp == NOW + 900
    assert reason(token, keys, expect, now=end) == "expired"
    exact = Expectations(issuer=ISSUER, audience=AUDIENCE, leeway=0)
    assert verify(token, keys, exact, now=NOW + 899.999).exp == NOW + 900
    assert reason(token, keys, exact, now=NOW + 900) == "expired"


@pytest.mark.parametrize("name", ["iat", "nbf"])
def test_a_token_is_not_good_before_its_time_less_the_leeway(
    name: str, keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    token = sign(payload | {"iat": NOW - 900, name: NOW})
    assert verify(token, keys, expect, now=NOW - LEEWAY).jti == "jti-1"
    assert reason(token, keys, expect, now=NOW - LEEWAY - 0.001) == "not_yet_valid"


def test_no_token_is_good_at_a_time_that_is_not_a_number(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    assert reason(sign(payload), keys, expect, now=float("nan")) == "expired"
    assert reason(sign(payload), keys, expect, now=float("inf")) == "expired"
    assert reason(sign(payload), keys, expect, now=float("-inf")) == "not_yet_valid"


@pytest.mark.parametrize("name", ["iss", "sub", "client_id", "aud", "iat", "exp", "jti"])
def test_a_required_claim_is_required(
    name: str, keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    del payload[name]
    token = sign(payload)
    assert reason(token, keys, expect) == "claims"
    assert reason(token, keys, Expectations(issuer=ISSUER, audience=None)) == "claims"


NOT_TEXT = ["", 1, True, None, [], ["a"], {}, "x" * 1025]
NOT_TEXTS = ["admin", 1, None, {}, [1], [""], ["a", None], [["a"]], ["x" * 1025], ["x"] * 257]
NOT_A_TIME = ["1800000000", True, False, None, [], -1, -0.5, 10**12, 1e300, {}]
NOT_A_COUNTER = [-1, 1.0, 1.5, True, None, "1", 2**63]
NOT_A_SCOPE = [1, None, True, ["a"], " ", "a  b", " a", "a ", " ".join(map(str, range(257)))]


@pytest.mark.parametrize(
    "claim",
    [
        *((name, value) for name in ("iss", "sub", "client_id", "jti", "sid") for value in NOT_TEXT),
        *((name, value) for name in ("roles", "amr") for value in NOT_TEXTS),
        *(("aud", value) for value in ["", [], [""], 1, None, {}, [1], [AUDIENCE, 1], ["x"] * 257]),
        *((name, value) for name in ("iat", "exp", "nbf", "auth_time") for value in NOT_A_TIME),
        *((name, value) for name in ("uep", "cep") for value in NOT_A_COUNTER),
        *(("scope", value) for value in NOT_A_SCOPE),
    ],
)
def test_a_claim_of_the_wrong_type_or_size_is_refused(
    claim: tuple[str, object], keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    name, value = claim
    with pytest.raises(InvalidToken) as refused:
        verify(sign(payload | {name: value}), keys, expect, now=NOW)
    assert refused.value.reason == "claims"
    assert refused.value.detail.startswith(f"{name} is not ")


def test_a_time_with_a_fraction_is_cut_to_its_second(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    claims = verify(sign(payload | {"iat": NOW + 0.9, "exp": NOW + 1.9}), keys, expect, now=NOW)
    assert (claims.iat, claims.exp) == (NOW, NOW + 1)
    assert type(claims.exp) is int


def test_an_empty_scope_grants_nothing_and_a_doubled_one_nothing_more(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    assert verify(sign(payload | {"scope": ""}), keys, expect, now=NOW).scope == frozenset()
    assert verify(sign(payload | {"scope": "a a b"}), keys, expect, now=NOW).scope == {"a", "b"}


def test_the_first_thing_wrong_is_the_reason(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    wrong: list[tuple[str, Payload]] = [
        ("issuer", {"iss": "x"}),
        ("audience", {"aud": "x"}),
        ("expired", {"exp": 1}),
        ("not_yet_valid", {"nbf": NOW + 100}),
        ("not_yet_valid", {"iat": NOW + 100}),
        ("claims", {"jti": ""}),
    ]
    for index, (expected, _) in enumerate(wrong):
        changes = {name: value for _, change in wrong[index:] for name, value in change.items()}
        assert reason(sign(payload | changes), keys, expect) == expected


def test_a_refresh_token_is_checked_by_the_same_two_halves(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    token = sign(payload | {"aud": ISSUER, "scope": "a b", "sid": "ses_1"}, typ="rt+jwt")
    signed = verify_signed(token, keys, typ="rt+jwt", algorithms=("RS256",))
    assert check_registered(signed, issuer=ISSUER, audience=ISSUER, now=NOW, leeway=0) == Registered(
        iss=ISSUER,
        sub="usr_1",
        client_id="web",
        aud=(ISSUER,),
        iat=NOW,
        exp=NOW + 900,
        jti="jti-1",
        scope=frozenset({"a", "b"}),
        sid="ses_1",
    )
    with pytest.raises(InvalidToken) as refused:
        check_registered(signed, issuer=ISSUER, audience=ISSUER, now=NOW + 900, leeway=0)
    assert refused.value.reason == "expired"
    assert reason(token, keys, expect) == "type"


@pytest.mark.parametrize(
    "wrong",
    [
        {"issuer": ""},
        {"audience": ""},
        {"typ": ""},
        {"typ": "application/at+jwt"},
        {"algorithms": ()},
        {"algorithms": "RS256"},
        {"algorithms": ["RS256"]},
        {"algorithms": ("none",)},
        {"algorithms": ("RS256", "HS256")},
        {"leeway": -1},
        {"leeway": float("nan")},
        {"leeway": float("inf")},
    ],
)
def test_expectations_that_nobody_can_have_meant_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="must"):
        Expectations(**({"issuer": ISSUER, "audience": AUDIENCE} | wrong))  # type: ignore[arg-type]  # the point


def test_the_defaults_of_expectations_are_said_aloud_here() -> None:
    expect = Expectations(issuer=ISSUER, audience=AUDIENCE)
    assert (expect.algorithms, expect.leeway, expect.typ) == (("RS256",), 5, "at+jwt")


def test_a_refusal_holds_no_value_of_a_claim(
    keys: KeySet, sign: Sign, payload: Payload, expect: Expectations
) -> None:
    marker = "attacker-was-here"
    for name in ("iss", "sub", "aud", "iat", "exp", "nbf", "jti", "scope", "roles", "sid", "uep"):
        with pytest.raises(InvalidToken) as refused:
            verify(sign(payload | {name: {marker: marker}}), keys, expect, now=NOW)
        assert marker not in repr(refused.value)
        assert marker not in str(refused.value)
        assert refused.value.__context__ is None
