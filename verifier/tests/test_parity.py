"""PyJWT, asked for the same things, says the same: a second opinion on our own parser."""

import json
import time
from collections.abc import Callable

import jwt
import pytest

from sealwright import Algorithm, Expectations, InvalidToken, KeySet, verify

Sign = Callable[..., str]
Payload = dict[str, object]

ISSUER = "https://auth.example.com"
AUDIENCE = "https://orders.example.com"
EVERY: tuple[Algorithm, ...] = ("RS256", "PS256", "ES256", "EdDSA")
REQUIRED = ["iss", "sub", "client_id", "aud", "iat", "exp", "jti"]
LEEWAY = 60


@pytest.fixture
def pyjwt_accepts(keys: KeySet) -> Callable[[str], bool]:
    def accepts(token: str) -> bool:
        try:
            header = jwt.get_unverified_header(token)
            key = keys[header["kid"]]
            if header["typ"] != "at+jwt":
                return False
            jwt.decode(  # noqa: TID251 -- the second opinion that this file is about
                token,
                key=jwt.PyJWK.from_dict(key.to_jwk()),
                algorithms=list(EVERY),
                issuer=ISSUER,
                audience=AUDIENCE,
                leeway=LEEWAY,
                options={"require": REQUIRED},
            )
        except (jwt.InvalidTokenError, KeyError):
            return False
        return True

    return accepts


def table(sign: Sign, payload: Payload, now: int) -> dict[str, tuple[str, bool]]:
    base = payload | {"iat": now, "exp": now + 900}
    token = sign(base)
    header, body, signature = token.split(".")
    other = sign(base | {"jti": "other"}).split(".")
    accepted: dict[str, str] = {
        **{alg: sign(base, by=alg) for alg in EVERY},
        "aud is a list": sign(base | {"aud": ["x", AUDIENCE]}),
        "all claims": sign(base | {"scope": "a b", "roles": ["a"], "sid": "s", "auth_time": now, "uep": 1}),
        "just within the leeway": sign(base | {"exp": now - LEEWAY + 30}),
        "nbf just within the leeway": sign(base | {"nbf": now + LEEWAY - 30}),
        "white space inside": sign(b'{ "a" : 1 , ' + json.dumps(base).encode()[1:]),
        "unknown header": sign(base, x="y"),
    }
    refused = {
        "nothing": "",
        "text": "not a token",
        "two segments": f"{header}.{body}",
        "four segments": f"{token}.x",
        "other payload": f"{header}.{other[1]}.{signature}",
        "other signature": f"{header}.{body}.{other[2]}",
        "no signature": f"{header}.{body}.",
        "alg none": sign(base, alg="none"),
        "alg HS256": sign(base, alg="HS256"),
        "alg of another key": sign(base, alg="PS256"),
        "alg missing": sign(base, header={"typ": "at+jwt", "kid": "?"}),
        "kid unknown": sign(base, kid="?"),
        "kid a number": sign(base, kid=1),
        "typ another": sign(base, typ="rt+jwt"),
        "crit": sign(base, crit=["x"], x=1),
        "header an array": sign(base, header=b"[]"),
        "payload an array": sign(b"[]"),
        "payload no JSON": sign(b"{"),
        "payload no UTF-8": sign(b'{"a":"\xff"}'),
        "issuer": sign(base | {"iss": "x"}),
        "audience": sign(base | {"aud": "x"}),
        "audience list": sign(base | {"aud": ["x"]}),
        "audience empty": sign(base | {"aud": []}),
        "audience mixed": sign(base | {"aud": [AUDIENCE, 1]}),
        "expired": sign(base | {"exp": now - LEEWAY - 30}),
        "nbf": sign(base | {"nbf": now + LEEWAY + 60}),
        "iat": sign(base | {"iat": now + LEEWAY + 60}),
        "exp text": sign(base | {"exp": "soon"}),
        "iat text": sign(base | {"iat": "then"}),
        "sub a number": sign(base | {"sub": 1}),
        "jti a number": sign(base | {"jti": 1}),
        **{f"no {name}": sign({k: v for k, v in base.items() if k != name}) for name in REQUIRED},
    }
    return {name: (token, True) for name, token in accepted.items()} | {
        name: (token, False) for name, token in refused.items()
    }


def test_pyjwt_agrees_on_what_is_accepted_and_what_is_refused(
    keys: KeySet, sign: Sign, payload: Payload, pyjwt_accepts: Callable[[str], bool]
) -> None:
    now = int(time.time())  # PyJWT asks the clock itself; the table keeps half a minute away from every edge
    expect = Expectations(issuer=ISSUER, audience=AUDIENCE, algorithms=EVERY, leeway=LEEWAY)

    def we_accept(token: str) -> bool:
        try:
            verify(token, keys, expect, now=now)
        except InvalidToken:
            return False
        return True

    cases = table(sign, payload, now)
    expected = {name: accepted for name, (_, accepted) in cases.items()}
    assert {name: we_accept(token) for name, (token, _) in cases.items()} == expected
    assert {name: pyjwt_accepts(token) for name, (token, _) in cases.items()} == expected


def test_we_refuse_more_than_pyjwt_where_a_token_has_two_readings(
    keys: KeySet, sign: Sign, payload: Payload, pyjwt_accepts: Callable[[str], bool]
) -> None:
    now = int(time.time())
    base = payload | {"iat": now, "exp": now + 900}
    text = json.dumps(base).encode()
    header, body, signature = sign(base).split(".")
    expect = Expectations(issuer=ISSUER, audience=AUDIENCE)
    for token in (
        f"{header}.{body}.{signature}==",
        sign(b'{"jti":"first",' + text[1:]),
        sign(text[:-1] + b',"x":NaN}'),
        sign(base, jku="https://evil.example/"),
        sign(base | {"client_id": 1}),
    ):
        assert pyjwt_accepts(token)
        with pytest.raises(InvalidToken):
            verify(token, keys, expect, now=now)
