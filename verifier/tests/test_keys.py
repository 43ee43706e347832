import base64
import json
from collections.abc import Mapping

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from sealwright import Algorithm, InvalidKey, Key, KeySet, thumbprint

EVERY: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")

RFC_7638_N = (
    "0vx7agoebGcQSuuPiLJXZptN9nndrQmbXEps2aiAFbWhM78LhWx4cbbfAAtVT86zwu1RK7aPFFxuhDR1L6tSoc_BJECPebWKRXjB"
    "ZCiFV4n3oknjhMstn64tZ_2W-5JsGY4Hc5n9yBXArwl93lqt7_RN5w6Cf0h4QyQ5v-65YGjQR0_FDW2QvzqY368QQMicAtaSqzs8"
    "KJZgnYb9c7d0zgdAZHzu6qMQvRL5hajrn1n91CbOpbISD08qNLyrdkt-bFTWhAI4vMQFh6WeZu0fM4lFd2NcRwr3XPksINHaQ-G_"
    "xBniIqbw0Ls1jF44-csFCur-kEgU8awapJzKnqDKgw"
)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_the_thumbprint_of_rfc_7638_3_1() -> None:
    jwk = {"kty": "RSA", "n": RFC_7638_N, "e": "AQAB", "alg": "RS256", "kid": "2011-04-29"}
    key = Key.from_jwk(jwk)
    assert key.kid == "2011-04-29"
    assert thumbprint(key.public_key) == "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"


def test_the_thumbprint_of_rfc_8037_a_3() -> None:
    x = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"
    key = Key.from_jwk({"kty": "OKP", "crv": "Ed25519", "x": x, "alg": "EdDSA", "kid": "a"})
    assert thumbprint(key.public_key) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize("alg", EVERY)
def test_a_key_survives_being_written_and_read(alg: Algorithm, key_of: Mapping[Algorithm, Key]) -> None:
    key = key_of[alg]
    jwk = key.to_jwk()
    assert jwk["use"] == "sig"
    assert jwk["alg"] == alg
    assert jwk["kid"] == key.kid == thumbprint(key.public_key)
    assert not {"d", "p", "q", "dp", "dq", "qi", "k"} & set(jwk)
    assert Key.from_jwk(json.loads(json.dumps(jwk))) == key


def test_a_coordinate_that_begins_with_zeros_keeps_its_32_bytes() -> None:
    # RFC 7518 6.2.1.2; about one key in 256 has one
    number = next(n for n in range(1, 10_000) if _x(n) < 2**248)
    key = Key.from_public_key(ec.derive_private_key(number, ec.SECP256R1()).public_key(), "ES256")
    assert len(key.to_jwk()["x"]) == 43
    assert Key.from_jwk(key.to_jwk()) == key


def _x(number: int) -> int:
    return ec.derive_private_key(number, ec.SECP256R1()).public_key().public_numbers().x


def test_a_key_and_an_algorithm_that_do_not_fit_make_no_key(key_of: Mapping[Algorithm, Key]) -> None:
    fitting = {("RS256", "PS256"), ("PS256", "RS256")} | {(alg, alg) for alg in EVERY}
    for alg in EVERY:
        for kind in EVERY:
            if (alg, kind) not in fitting:
                with pytest.raises(InvalidKey):
                    Key.from_public_key(key_of[kind].public_key, alg)
    with pytest.raises(InvalidKey):
        Key("a", "HS256", key_of["RS256"].public_key)  # type: ignore[arg-type]  # what types alone would refuse


@pytest.mark.filterwarnings("default::Warning")  # cryptography warns of the very keys that we refuse
def test_an_rsa_key_has_2048_bits_or_more() -> None:
    for bits in (1024, 2040):
        with pytest.raises(InvalidKey):
            Key.from_public_key(rsa.generate_private_key(65537, bits).public_key(), "RS256")


def test_a_curve_that_is_not_p_256_makes_no_key() -> None:
    for curve in (ec.SECP384R1(), ec.SECP256K1()):
        public_key = ec.generate_private_key(curve).public_key()
        with pytest.raises(InvalidKey):
            Key("a", "ES256", public_key)
        with pytest.raises(InvalidKey):
            thumbprint(public_key)


@pytest.mark.parametrize("kid", ["", "x" * 257, None, 1])
def test_a_kid_is_a_string_of_bounded_length(kid: object, key_of: Mapping[Algorithm, Key]) -> None:
    with pytest.raises(InvalidKey):
        Key(kid, "RS256", key_of["RS256"].public_key)  # type: ignore[arg-type]  # what a JWK may hold
    with pytest.raises(InvalidKey):
        Key.from_jwk({**key_of["RS256"].to_jwk(), "kid": kid})


REFUSED_MEMBERS: list[tuple[Algorithm, dict[str, object]]] = [
    ("RS256", {"kty": "EC"}),
    ("RS256", {"kty": "oct"}),
    ("RS256", {"kty": None}),
    ("RS256", {"kty": ["RSA"]}),
    ("RS256", {"crv": "P-256"}),
    ("RS256", {"alg": "RS512"}),
    ("RS256", {"alg": "HS256"}),
    ("RS256", {"alg": None}),
    ("RS256", {"alg": ["RS256"]}),
    ("RS256", {"alg": "ES256"}),
    ("RS256", {"use": "enc"}),
    ("RS256", {"use": None}),
    ("RS256", {"key_ops": ["sign"]}),
    ("RS256", {"key_ops": []}),
    ("RS256", {"key_ops": "verify"}),
    ("RS256", {"d": "AQAB"}),
    ("RS256", {"k": "AQAB"}),
    ("RS256", {"n": ""}),
    ("RS256", {"n": None}),
    ("RS256", {"n": 5}),
    ("RS256", {"n": "é"}),
    ("RS256", {"n": "\ud800"}),
    ("RS256", {"n": "A" * 5000}),
    ("RS256", {"n": RFC_7638_N + "="}),
    ("RS256", {"n": "AAAA" + RFC_7638_N}),
    ("RS256", {"n": RFC_7638_N * 10}),
    ("RS256", {"e": "AA"}),
    ("RS256", {"e": "AQ"}),
    ("RS256", {"e": "AQAC"}),
    ("RS256", {"e": ["AQAB"]}),
    ("ES256", {"crv": "P-384"}),
    ("ES256", {"crv": None}),
    ("ES256", {"x": base64url(bytes(32))}),
    ("ES256", {"x": base64url(b"\xff" * 32)}),
    ("ES256", {"y": base64url(b"\1" * 31)}),
    ("ES256", {"y": base64url(b"\1" * 33)}),
    ("ES256", {"y": None}),
    ("EdDSA", {"crv": "X25519"}),
    ("EdDSA", {"crv": "Ed448"}),
    ("EdDSA", {"x": base64url(bytes(31))}),
    ("EdDSA", {"x": None}),
]


@pytest.mark.parametrize(("alg", "members"), REFUSED_MEMBERS)
def test_a_jwk_that_is_not_a_sound_signing_key_is_refused(
    alg: Algorithm, members: dict[str, object], key_of: Mapping[Algorithm, Key]
) -> None:
    with pytest.raises(InvalidKey):
        Key.from_jwk({**key_of[alg].to_jwk(), **members})


@pytest.mark.parametrize("alg", EVERY)
def test_a_jwk_lacks_none_of_its_members_but_use(alg: Algorithm, key_of: Mapping[Algorithm, Key]) -> None:
    jwk = key_of[alg].to_jwk()
    for name in jwk:
        rest = {other: value for other, value in jwk.items() if other != name}
        if name == "use":
            assert Key.from_jwk(rest) == key_of[alg]
        else:
            with pytest.raises(InvalidKey):
                Key.from_jwk(rest)


def test_key_ops_may_say_verify_and_unknown_members_are_ignored(key_of: Mapping[Algorithm, Key]) -> None:
    jwk = {**key_of["RS256"].to_jwk(), "key_ops": ["verify"], "x5t": "abc", "exp": 1}
    assert Key.from_jwk(jwk) == key_of["RS256"]


def test_a_key_set_is_read_from_bytes_or_a_mapping(key_of: Mapping[Algorithm, Key]) -> None:
    jwks = {"keys": [key.to_jwk() for key in key_of.values()]}
    for source in (jwks, json.dumps(jwks).encode(), json.dumps(jwks, indent=2).encode() + b"\n"):
        keys = KeySet.from_jwks(source)
        assert dict(keys) == {key.kid: key for key in key_of.values()}
        assert keys == KeySet(key_of.values())


def test_keys_that_are_not_understood_are_left_out_of_a_set(key_of: Mapping[Algorithm, Key]) -> None:
    good = key_of["RS256"].to_jwk()
    others: list[object] = [{**key_of[alg].to_jwk(), **members} for alg, members in REFUSED_MEMBERS]
    others += [{}, None, 1, "a", [], {"kty": "AKP", "alg": "ML-DSA-65", "kid": "new"}]
    assert list(KeySet.from_jwks({"keys": [*others, good, *others]})) == [good["kid"]]
    assert len(KeySet.from_jwks({"keys": others})) == 0


def test_two_keys_never_share_a_kid(key_of: Mapping[Algorithm, Key]) -> None:
    jwks = [{**key_of[alg].to_jwk(), "kid": "same"} for alg in ("RS256", "ES256")]
    for keys in (jwks, [jwks[0], jwks[0]]):
        with pytest.raises(InvalidKey):
            KeySet.from_jwks({"keys": keys})


@pytest.mark.parametrize(
    "jwks",
    [
        b"",
        b"[]",
        b"null",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":null}',
        b'{"keys":[],"keys":[]}',
        b"\xff",
        b"<html>",
    ],
)
def test_what_is_no_jwks_is_refused(jwks: bytes) -> None:
    with pytest.raises(InvalidKey):
        KeySet.from_jwks(jwks)
    with pytest.raises(InvalidKey):
        KeySet.from_jwks(b'{"keys":' + b"[" * 100_000 + b"]" * 100_000 + b"}")


def test_keys_and_sets_do_not_change_and_say_no_more_than_kids(key_of: Mapping[Algorithm, Key]) -> None:
    key = key_of["EdDSA"]
    keys = KeySet([key])
    with pytest.raises(AttributeError):
        key.kid = "other"  # type: ignore[misc]  # the point
    with pytest.raises(TypeError):
        keys["other"] = key  # type: ignore[index]  # the point
    with pytest.raises(AttributeError):
        keys.other = key  # type: ignore[attr-defined]  # the point
    assert repr(keys) == f"KeySet(['{key.kid}'])"
    assert keys.get("other") is None
    assert isinstance(key.public_key, ed25519.Ed25519PublicKey)
