"""Whatever bytes come in, a parser gives a value or its own refusal, and never keeps what must not go on."""

# ruff: noqa: PT017  # most input is fine or refused as it happens to be: pytest.raises does not fit

import base64
import json
from urllib.parse import quote_plus, urlencode

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from sealwright import InvalidKey
from service.clients import keys
from service.clients.authentication import Credentials, presented
from service.errors import OAuthError
from service.grants.scope import parse_scope
from service.http import BadBody, Parameters, is_text, parse_form, parse_json

PRINTABLE = st.text(st.characters(exclude_categories=["Cc", "Cs"]), min_size=1, max_size=20)
NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)


def assert_clean(parameters: Parameters) -> None:
    values = [*parameters.one.values(), *(v for many in parameters.many.values() for v in many)]
    for value in values:
        assert value
        assert "\0" not in value
        value.encode()  # no half of a character


@given(st.binary(max_size=300))
@example(b"a=%ff")
@example(b"a=\xff")
@example(b"a=%00")
@example(b"a=%ed%a0%80")
@example(b"a=1&a=2")
@example(b"&" * 100)
def test_any_bytes_are_a_form_or_refused(body: bytes) -> None:
    try:
        parameters = parse_form(body, repeatable=("resource",))
    except BadBody:
        return
    assert_clean(parameters)


@given(
    st.dictionaries(NAMES.filter(lambda n: n != "resource"), PRINTABLE, max_size=8),
    st.lists(PRINTABLE, max_size=4),
)
def test_what_a_form_says_is_read_back(one: dict[str, str], many: list[str]) -> None:
    body = urlencode([*one.items(), *(("resource", value) for value in many)]).encode()

    parameters = parse_form(body, repeatable=("resource",))

    assert parameters == Parameters(one, {"resource": tuple(many)} if many else {})


@given(NAMES, PRINTABLE, PRINTABLE)
def test_no_parameter_may_stand_twice(name: str, first: str, second: str) -> None:
    with pytest.raises(BadBody) as refused:
        parse_form(urlencode([(name, first), (name, second)]).encode())
    assert "more than once" in str(refused.value)


@given(st.binary(max_size=300) | st.text().map(lambda t: t.encode("utf-8", "surrogatepass")))
@example(b"[" * 60_000)
@example(b'{"a":' * 10_000)
@example(b'{"a":"\\ud800"}')
@example(b'{"a":NaN}')
@example(b"9" * 5000)
def test_any_bytes_are_json_or_refused(body: bytes) -> None:
    try:
        parameters = parse_json(body, repeatable=("resource",))
    except BadBody:
        return
    assert_clean(parameters)


@given(st.dictionaries(st.text(), JSON_VALUES, max_size=4) | JSON_VALUES)
def test_any_json_is_an_object_of_strings_or_refused(value: object) -> None:
    try:
        parameters = parse_json(json.dumps(value).encode(), repeatable=("resource",))
    except BadBody:
        return
    assert_clean(parameters)
    assert isinstance(value, dict)
    assert all(value[name] == text for name, text in parameters.one.items())


@given(NAMES, PRINTABLE)
def test_no_member_may_stand_twice(name: str, value: str) -> None:
    member = f"{json.dumps(name)}: {json.dumps(value)}"

    with pytest.raises(BadBody):
        parse_json(f"{{{member}, {member}}}".encode())


@given(st.binary(min_size=8, max_size=100))
def test_a_refusal_never_quotes_the_body(body: bytes) -> None:
    for parse in (parse_form, parse_json):
        try:
            parse(body)
        except BadBody as refused:
            assert body.decode("utf-8", "replace") not in str(refused)
            assert refused.__cause__ is None


@given(st.text())
def test_text_has_no_control_character_and_no_half_of_one(value: str) -> None:
    wrong = any(c < " " or c == "\x7f" or "\ud800" <= c <= "\udfff" for c in value)

    assert is_text(value) == (not wrong)


@given(st.text() | st.text('ab !"\\~\x7f', max_size=8))
def test_a_scope_is_a_list_of_names_or_refused(value: str) -> None:
    try:
        names = parse_scope(value)
    except OAuthError as refused:
        assert refused.error == "invalid_scope"
        return
    assert names
    assert set(value.split(" ")) == names
    for name in names:
        assert all("!" <= c <= "~" and c not in '"\\' for c in name)


@given(
    st.sets(
        st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters='"\\'), min_size=1),
        min_size=1,
    )
)
def test_every_scope_of_the_standard_is_read(names: set[str]) -> None:
    assert parse_scope(" ".join(names)) == frozenset(names)


@given(
    st.none()
    | st.text(max_size=40)
    | st.text(max_size=40).map("Basic ".__add__)
    | st.binary(max_size=30).map(lambda b: "Basic " + base64.b64encode(b).decode()),
    st.dictionaries(st.sampled_from(["client_id", "client_secret"]), PRINTABLE),
)
def test_any_authorization_is_credentials_or_refused(
    authorization: str | None, parameters: dict[str, str]
) -> None:
    try:
        credentials = presented(authorization, parameters)
    except OAuthError as refused:
        assert refused.error in {"invalid_client", "invalid_request"}
        return
    if credentials is None:
        assert authorization is None
        assert not parameters
    else:
        assert isinstance(credentials, Credentials)
        assert credentials.client_id
        assert is_text(credentials.client_id + (credentials.secret or ""))


@given(PRINTABLE, PRINTABLE | st.just(""))
def test_basic_credentials_are_read_back(client_id: str, secret: str) -> None:
    joined = f"{quote_plus(client_id)}:{quote_plus(secret)}"
    header = "Basic " + base64.b64encode(joined.encode()).decode()

    assert presented(header, {}) == Credentials(client_id, secret)
    assert presented(header, {"client_id": client_id}) == Credentials(client_id, secret)
    with pytest.raises(OAuthError):
        presented(header, {"client_secret": "x"})


def test_credentials_show_no_secret() -> None:
    assert "hush" not in repr(Credentials("me", "hush"))
    assert "hush" not in repr(parse_form(b"password=hush&resource=hush", repeatable=("resource",)))


JWK = {
    "kty": "EC",
    "crv": "P-256",
    "x": "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4",
    "y": "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM",
    "kid": "1",
}
"""RFC 7517, appendix A.1."""


@given(st.binary(max_size=300) | JSON_VALUES.map(lambda value: json.dumps({"keys": [value, JWK]}).encode()))
@example(b"[" * 100_000)
@example(json.dumps({"keys": [JWK, JWK]}).encode())
def test_any_bytes_that_a_client_publishes_are_keys_or_refused(document: bytes) -> None:
    try:
        found = keys.understood(document)
    except InvalidKey:
        return
    assert set(found) <= {"1"}


@given(st.sampled_from([*JWK, "alg", "use", "key_ops", "n", "e", "d"]), JSON_VALUES)
def test_a_published_key_with_any_member_is_a_key_or_left_out(name: str, value: object) -> None:
    assert len(keys.understood(json.dumps({"keys": [{**JWK, name: value}]}).encode())) in {0, 1}
