"""Whatever the text, `verify` answers with the very claims that were signed, or with InvalidToken."""

import base64
import json
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sealwright import Algorithm, Claims, Expectations, InvalidKey, InvalidToken, KeySet, verify
from sealwright._revocations import BadAnswer, Revocations, read_answer

Sign = Callable[..., str]
EVERY: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")
ISSUER = "https://auth.example.com"
NOW = 1_800_000_000
EXPECT = Expectations(issuer=ISSUER, audience=ISSUER, algorithms=EVERY)
PAYLOAD = {
    "iss": ISSUER,
    "sub": "usr_1",
    "client_id": "web",
    "aud": [ISSUER],
    "iat": NOW,
    "exp": NOW + 900,
    "jti": "jti-1",
    "scope": "a b",
    "roles": ["admin"],
}

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(codec=None)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
claim = st.sampled_from([*PAYLOAD, "nbf", "sid", "auth_time", "amr", "uep", "cep"])
parameter = st.sampled_from(["alg", "typ", "kid", "crit", "b64", "jku", "x"])
algorithm = st.sampled_from(EVERY)


@pytest.fixture(scope="session")
def tokens(sign: Sign) -> dict[Algorithm, str]:
    return {alg: sign(PAYLOAD, by=alg) for alg in EVERY}


@pytest.fixture(scope="session")
def genuine(tokens: dict[Algorithm, str], keys: KeySet) -> dict[Algorithm, Claims]:
    return {alg: verify(token, keys, EXPECT, now=NOW) for alg, token in tokens.items()}


def claims_or_none(token: str, keys: KeySet) -> Claims | None:
    try:
        return verify(token, keys, EXPECT, now=NOW)
    except InvalidToken:
        return None


@given(st.text(st.characters(codec=None)) | st.from_regex(r"[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*\.[A-Za-z0-9_-]*"))
def test_any_text_is_refused(keys: KeySet, text: str) -> None:
    assert claims_or_none(text, keys) is None


@given(data=st.data(), alg=algorithm)
@settings(max_examples=400)
def test_a_changed_token_gives_the_same_claims_or_none(
    keys: KeySet,
    tokens: dict[Algorithm, str],
    genuine: dict[Algorithm, Claims],
    data: st.DataObject,
    alg: Algorithm,
) -> None:
    token = tokens[alg]
    start = data.draw(st.integers(0, len(token)))
    end = data.draw(st.integers(start, min(len(token), start + 8)))
    put = data.draw(st.text(st.sampled_from("AQgwx_-.=+/ \n\0é"), max_size=8))
    changed = token[:start] + put + token[end:]
    expected = genuine[alg] if changed == token else None
    assert claims_or_none(changed, keys) == expected


@given(name=claim, value=anything)
@settings(max_examples=400)
def test_a_signed_claim_of_any_value_is_typed_or_refused(
    keys: KeySet, sign: Sign, name: str, value: object
) -> None:
    claims = claims_or_none(sign({**PAYLOAD, name: value}, by="EdDSA"), keys)
    if claims is not None:
        assert all(type(item) is str for item in (claims.sub, claims.jti, *claims.aud, *claims.roles))
        assert all(type(number) is int for number in (claims.iat, claims.exp))
        json.dumps([*claims.aud, *claims.roles, claims.sub], ensure_ascii=False).encode()


@given(name=parameter, value=anything)
def test_a_signed_header_of_any_value_is_accepted_only_as_it_should_be(
    keys: KeySet, sign: Sign, name: str, value: object
) -> None:
    claims = claims_or_none(sign(PAYLOAD, by="EdDSA", **{name: value}), keys)
    assert claims is None or name == "x"


@given(header=st.binary(max_size=200), payload=st.binary(max_size=200))
def test_any_signed_bytes_are_refused(keys: KeySet, sign: Sign, header: bytes, payload: bytes) -> None:
    assert claims_or_none(sign(payload, by="EdDSA", header=header), keys) is None
    assert claims_or_none(sign(payload, by="EdDSA"), keys) is None


@given(alg=algorithm, signature=st.binary(max_size=300))
def test_any_other_signature_is_refused(
    keys: KeySet, tokens: dict[Algorithm, str], alg: Algorithm, signature: bytes
) -> None:
    message = tokens[alg].rpartition(".")[0]
    forged = base64.urlsafe_b64encode(signature).rstrip(b"=").decode()
    assert claims_or_none(f"{message}.{forged}", keys) is None


@given(st.binary() | anything.map(lambda value: json.dumps({"keys": [value]}).encode()))
def test_any_bytes_are_a_key_set_or_refused(jwks: bytes) -> None:
    try:
        keys = KeySet.from_jwks(jwks)
    except InvalidKey:
        return
    assert len(keys) == 0


jwk_member = st.sampled_from(["kty", "crv", "alg", "use", "key_ops", "kid", "n", "e", "x", "y"])


@given(alg=algorithm, name=jwk_member, value=anything)
def test_a_jwk_with_any_member_is_a_key_or_left_out(
    keys: KeySet, alg: Algorithm, name: str, value: object
) -> None:
    jwk = next(key for key in keys.values() if key.alg == alg).to_jwk()
    read = KeySet.from_jwks({"keys": [{**jwk, name: value}]})
    assert len(read) in {0, 1}


ENTRY = {"jti": "jti-1", "exp": NOW + 900}
FEED = {
    "issuer": ISSUER,
    "snapshot": True,
    "cursor": "a.1",
    "now": NOW,
    "seen_at": NOW,
    "revocations": [ENTRY],
}


def assert_is_taken_or_refused(body: bytes) -> None:
    try:
        answer = read_answer(body, ISSUER)
    except BadAnswer:
        return
    held = Revocations(leeway=5)
    held.put(answer.revocations)
    held.sweep(answer.now)
    assert answer.age >= 0


@given(st.binary())
def test_any_bytes_are_an_answer_of_the_feed_or_refused(body: bytes) -> None:
    with pytest.raises(BadAnswer):
        read_answer(body, ISSUER)


@given(name=st.sampled_from([*FEED, "x"]), value=anything)
def test_an_answer_of_the_feed_with_any_member_is_taken_or_refused(name: str, value: object) -> None:
    assert_is_taken_or_refused(json.dumps({**FEED, name: value}).encode())


@given(name=st.sampled_from([*ENTRY, "sub", "sid", "client_id", "kid", "epoch"]), value=anything)
def test_an_entry_of_the_feed_with_any_member_is_taken_or_refused(name: str, value: object) -> None:
    entry = {**ENTRY, name: value}
    assert_is_taken_or_refused(json.dumps({**FEED, "revocations": [entry, ENTRY]}).encode())
