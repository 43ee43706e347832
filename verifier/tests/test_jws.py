import base64
import contextlib
import hashlib
import hmac
import json
from collections.abc import Callable, Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright import Algorithm, InvalidToken, Key, KeySet, verify_signed

Sign = Callable[..., str]
EVERY: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def verified(token: str, keys: KeySet, *, typ: str = "at+jwt") -> dict[str, object]:
    return verify_signed(token, keys, typ=typ, algorithms=EVERY)


def reason(token: str, keys: KeySet) -> str:
    with pytest.raises(InvalidToken) as refused:
        verified(token, keys)
    return refused.value.reason


@pytest.mark.parametrize("alg", EVERY)
def test_a_token_of_each_algorithm_gives_its_payload(alg: Algorithm, keys: KeySet, sign: Sign) -> None:
    payload = {"a": 1, "b": ["x", None, True, 1.5], "c": {"é": "日本"}}
    assert verified(sign(payload, by=alg), keys) == payload


@pytest.mark.parametrize("alg", EVERY)
def test_a_changed_signature_or_payload_is_refused(alg: Algorithm, keys: KeySet, sign: Sign) -> None:
    header, payload, signature = sign({"a": 1}, by=alg).split(".")
    other_payload, other_signature = sign({"a": 2}, by=alg).split(".")[1:]
    assert reason(f"{header}.{other_payload}.{signature}", keys) == "signature"
    assert reason(f"{header}.{payload}.{other_signature}", keys) == "signature"
    assert reason(f"{header}.{payload}.", keys) == "signature"
    shorter = base64url(base64.urlsafe_b64decode(signature + "==")[:-1])
    assert reason(f"{header}.{payload}.{shorter}", keys) == "signature"


def test_the_longest_token_is_a_matter_of_its_characters(keys: KeySet, sign: Sign) -> None:
    token = sign({"a": 1})
    assert verify_signed(token, keys, typ="at+jwt", algorithms=EVERY, max_length=len(token)) == {"a": 1}
    with pytest.raises(InvalidToken) as refused:
        verify_signed(token, keys, typ="at+jwt", algorithms=EVERY, max_length=len(token) - 1)
    assert refused.value.reason == "too_long"
    assert reason("a" * 8193, keys) == "too_long"


def test_a_token_has_exactly_three_segments(keys: KeySet, sign: Sign) -> None:
    token = sign({"a": 1})
    header, payload, _ = token.split(".")
    for wrong in (
        "",
        ".",
        "..",
        "...",
        header,
        f"{header}.{payload}",
        f"{token}.",
        f".{token}",
        f"{token}.e30",
    ):
        assert reason(wrong, keys) == "malformed"


@pytest.mark.parametrize("character", ["=", "+", "/", " ", "\n", "!", "\0", "é", "٣", "\ud800", "%"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_character_outside_base64url_is_refused(
    character: str, place: int, keys: KeySet, sign: Sign, signature_of: Callable[[Algorithm, bytes], bytes]
) -> None:
    segments = sign({"a": 1}).split(".")
    for changed in (segments[place] + character, character + segments[place][1:]):
        segments[place] = changed
        if place == 1 and character.isascii():  # the issuer's own signature does not make it readable
            segments[2] = base64url(signature_of("RS256", ".".join(segments[:2]).encode()))
        assert reason(".".join(segments), keys) == "malformed"


def test_padding_is_refused_where_base64_would_want_it(keys: KeySet, sign: Sign) -> None:
    assert verified(sign(base64url(b'{"a":12}')), keys) == {"a": 12}
    assert reason(sign(base64.urlsafe_b64encode(b'{"a":12}').decode()), keys) == "malformed"
    header, payload, signature = sign({"a": 1}).split(".")
    assert reason(f"{header}.{payload}.{signature}==", keys) == "malformed"


def test_a_segment_has_one_spelling(keys: KeySet, sign: Sign) -> None:
    # e30 is {}; its last two bits belong to no byte, so e31 would be read as the same.
    assert verified(sign("e30"), keys) == {}
    for other in ("e31", "e32", "e33", "e3", "e"):
        assert reason(sign(other), keys) == "malformed"
    header, payload, signature = sign({"a": 1}).split(".")
    assert signature[-1] in "AQgw"
    other = signature[:-1] + chr(ord(signature[-1]) + 1)
    assert reason(f"{header}.{payload}.{other}", keys) == "malformed"


NOT_AN_OBJECT = [
    b"",
    b"null",
    b"1",
    b'"a"',
    b"[]",
    b"{",
    b"{}{}",
    b" {}",
    b"{} ",
    b'{"a":1,}',
    b"{'a':1}",
    b'{"a":1,"a":1}',
    b'{"a":{"b":1,"b":2}}',
    b'{"a":NaN}',
    b'{"a":Infinity}',
    b'{"a":-Infinity}',
    b'{"a":1e999}',
    b'{"a":' + b"9" * 5000 + b"}",
    b'{"a":"\\u0000"}',
    b'{"a":"\\ud800"}',
    b'{"a":["\\udc00"]}',
    b'{"\\ud800":1}',
    b'{"a":"\x00"}',
    b'{"a":"\n"}',
    b'{"a":"\xff"}',
    b'{"a":"\xed\xa0\x80"}',
    b"\xef\xbb\xbf{}",
    '{"a":1}'.encode("utf-16"),
]


@pytest.mark.parametrize("text", NOT_AN_OBJECT)
def test_a_payload_that_is_not_one_json_object_is_refused(text: bytes, keys: KeySet, sign: Sign) -> None:
    assert reason(sign(text), keys) == "malformed"


@pytest.mark.parametrize("text", NOT_AN_OBJECT)
def test_a_header_that_is_not_one_json_object_is_refused(text: bytes, keys: KeySet, sign: Sign) -> None:
    assert reason(sign({"a": 1}, header=text), keys) == "malformed"


def test_a_member_named_twice_is_refused_in_the_header_however_it_is_spelled(
    keys: KeySet, key_of: Mapping[Algorithm, Key], sign: Sign
) -> None:
    kid = key_of["RS256"].kid
    header = f'{{"alg":"RS256","typ":"at+jwt","kid":"{kid}","k\\u0069d":"{kid}"}}'
    assert reason(sign({"a": 1}, header=header.encode()), keys) == "malformed"


def test_an_escape_that_stands_for_a_character_is_read(keys: KeySet, sign: Sign) -> None:
    assert verified(sign(rb'{"a":"\ud83d\ude00 \\u0000 \u00e9"}'), keys) == {"a": "\U0001f600 \\u0000 é"}


@pytest.mark.parametrize(("opened", "closed"), [(b"[", b"]"), (b'{"a":', b"}")])
def test_deep_nesting_never_ends_in_a_recursion_error(
    opened: bytes, closed: bytes, keys: KeySet, sign: Sign
) -> None:
    def nested(depth: int) -> bytes:
        return b'{"\\u0061":' + opened * depth + b"1" + closed * depth + b"}"

    assert verified(sign(nested(20)), keys)
    for depth in range(
        800, 1100
    ):  # about where the parser or what looks at its result gives up, on some Pythons
        with contextlib.suppress(InvalidToken):
            verified(sign(nested(depth), by="EdDSA"), keys)
    for token in (sign(nested(100_000)), sign({"a": 1}, header=nested(100_000))):
        with pytest.raises(InvalidToken) as refused:
            verify_signed(token, keys, typ="at+jwt", algorithms=EVERY, max_length=10_000_000)
        assert refused.value.reason == "malformed"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("crit", ["exp"]),
        ("crit", []),
        ("b64", False),
        ("b64", True),
        ("jku", "https://evil.example/jwks.json"),
        ("jwk", {"kty": "RSA"}),
        ("x5u", "https://evil.example/chain.pem"),
        ("x5c", ["MIIB"]),
        ("jwk", None),
    ],
)
def test_a_header_that_brings_a_key_or_an_extension_is_refused(
    name: str, value: object, keys: KeySet, sign: Sign
) -> None:
    assert reason(sign({"a": 1}, **{name: value}), keys) == "header"


def test_a_header_parameter_that_we_do_not_know_is_ignored(keys: KeySet, sign: Sign) -> None:
    assert verified(sign({"a": 1}, x5t="abc", cty="JWT", anything=[1]), keys) == {"a": 1}


@pytest.mark.parametrize("alg", ["none", "HS256", "RS512", "rs256", "PS256", "ES256", "", None, 1, ["RS256"]])
def test_an_alg_that_is_not_the_keys_own_is_refused(alg: object, keys: KeySet, sign: Sign) -> None:
    assert reason(sign({"a": 1}, alg=alg), keys) == "algorithm"


def test_an_alg_that_is_not_expected_here_is_refused_though_the_key_is_known(
    keys: KeySet, sign: Sign
) -> None:
    with pytest.raises(InvalidToken) as refused:
        verify_signed(sign({"a": 1}, by="ES256"), keys, typ="at+jwt", algorithms=("RS256",))
    assert refused.value.reason == "algorithm"


def test_a_token_without_a_signature_is_refused_whatever_the_caller_expects(
    keys: KeySet, key_of: Mapping[Algorithm, Key]
) -> None:
    header = json.dumps({"alg": "none", "typ": "at+jwt", "kid": key_of["RS256"].kid}).encode()
    with pytest.raises(InvalidToken) as refused:
        verify_signed(f"{base64url(header)}.e30.", keys, typ="at+jwt", algorithms=("none", "RS256"))
    assert refused.value.reason == "algorithm"


def test_a_public_key_is_not_a_secret_for_hs256(keys: KeySet, key_of: Mapping[Algorithm, Key]) -> None:
    key = key_of["RS256"]
    header = json.dumps({"alg": "HS256", "typ": "at+jwt", "kid": key.kid}).encode()
    message = f"{base64url(header)}.e30"
    for secret in (
        key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo),
        key.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    ):
        token = f"{message}.{base64url(hmac.digest(secret, message.encode(), hashlib.sha256))}"
        with pytest.raises(InvalidToken) as refused:
            verify_signed(token, keys, typ="at+jwt", algorithms=("HS256", "RS256"))
        assert refused.value.reason == "algorithm"


@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "Application/AT+jwt"])
def test_typ_is_a_media_type_with_or_without_application(typ: str, keys: KeySet, sign: Sign) -> None:
    assert verified(sign({"a": 1}, typ=typ), keys) == {"a": 1}
    assert verify_signed(sign({"a": 1}, typ=typ), keys, typ="AT+jwt", algorithms=EVERY) == {"a": 1}


@pytest.mark.parametrize(
    "typ",
    ["rt+jwt", "JWT", "", " at+jwt", "at+jwt;a=b", "application/application/at+jwt", "text/at+jwt", None, 1],
)
def test_another_typ_is_refused(typ: object, keys: KeySet, sign: Sign) -> None:
    assert reason(sign({"a": 1}, typ=typ), keys) == "type"


def test_a_typ_that_only_unicode_takes_for_the_same_is_refused(keys: KeySet, sign: Sign) -> None:
    kelvin = sign({"a": 1}, typ="\u212a+jwt")  # whose lower case is an ASCII k
    with pytest.raises(InvalidToken) as refused:
        verify_signed(kelvin, keys, typ="k+jwt", algorithms=EVERY)
    assert refused.value.reason == "type"


def test_an_access_token_is_no_refresh_token_and_the_other_way_round(keys: KeySet, sign: Sign) -> None:
    refresh = sign({"a": 1}, typ="rt+jwt")
    assert verified(refresh, keys, typ="rt+jwt") == {"a": 1}
    assert reason(refresh, keys) == "type"
    with pytest.raises(InvalidToken):
        verified(sign({"a": 1}), keys, typ="rt+jwt")


@pytest.mark.parametrize("name", ["typ", "alg", "kid"])
def test_a_header_without_one_of_its_members_is_refused(
    name: str, keys: KeySet, key_of: Mapping[Algorithm, Key], sign: Sign
) -> None:
    header = {"alg": "RS256", "typ": "at+jwt", "kid": key_of["RS256"].kid}
    del header[name]
    expected = {"typ": "type", "alg": "algorithm", "kid": "header"}[name]
    assert reason(sign({"a": 1}, header=header), keys) == expected


@pytest.mark.parametrize("kid", [None, 1, True, [], {}, ["a"]])
def test_a_kid_that_is_not_a_string_is_refused(kid: object, keys: KeySet, sign: Sign) -> None:
    assert reason(sign({"a": 1}, kid=kid), keys) == "header"


@pytest.mark.parametrize(
    "kid", ["", "unknown", "../../dev/null", "file:///etc/passwd", "' OR 1=1 --", "x" * 3000]
)
def test_a_kid_is_only_ever_compared(kid: str, keys: KeySet, sign: Sign) -> None:
    assert reason(sign({"a": 1}, kid=kid), keys) == "unknown_key"


def test_the_kid_decides_and_no_other_key_is_tried(
    keys: KeySet, key_of: Mapping[Algorithm, Key], sign: Sign
) -> None:
    other = rsa.generate_private_key(65537, 2048).public_key()
    both = KeySet([*keys.values(), Key("other", "RS256", other)])
    assert reason(sign({"a": 1}, kid="other"), both) == "signature"
    assert reason(sign({"a": 1}), KeySet([key_of["ES256"]])) == "unknown_key"
    assert reason(sign({"a": 1}), KeySet()) == "unknown_key"


def test_an_es256_signature_is_64_bytes_and_not_der(
    keys: KeySet, ec_key: ec.EllipticCurvePrivateKey, sign: Sign
) -> None:
    message, _, signature = sign({"a": 1}, by="ES256").rpartition(".")
    der = ec_key.sign(message.encode(), ec.ECDSA(SHA256()))
    raw = base64.urlsafe_b64decode(signature + "==")
    assert len(raw) == 64
    for wrong in (der, raw + b"\0", raw[:-1], raw[32:] + raw[:32], bytes(64), b"\xff" * 64):
        assert reason(f"{message}.{base64url(wrong)}", keys) == "signature"


def test_a_refusal_holds_nothing_of_the_token(keys: KeySet, sign: Sign) -> None:
    marker = "attacker-was-here"
    for token in (
        marker,
        sign({"a": 1}, kid=marker),
        sign({"a": 1}, alg=marker),
        sign({"a": 1}, typ=marker),
        sign(f'{{"a":"{marker}'.encode()),
        sign({"a": 1}, header=marker.encode()),
    ):
        with pytest.raises(InvalidToken) as refused:
            verified(token, keys)
        error = refused.value
        assert str(error) == f"{error.reason}: {error.detail}"
        assert marker not in repr(error)
        assert token not in repr(error)
        # An exception of json or binascii carries its input to wherever a traceback is sent.
        assert error.__cause__ is None
        assert error.__context__ is None
