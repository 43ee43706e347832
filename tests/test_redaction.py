"""What is logged holds no secret, wherever in a line one was put."""

import json
import logging
import string
import sys
import time
import timeit
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from service import logs, redaction
from service.clients.store import new_secret

MARK = "c0ffee" * 5
"""The part of each secret that must not be seen again."""

SHAPES = {
    "a JWT": f"eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.{MARK}",
    "a JWT's beginning": f"eyJhbGciOiJSUzI1NiJ9{MARK}",
    "a JWT in a URL": f"eyJhbGciOiJSUzI1NiJ9%2EeyJzdWIiOiJhbGljZSJ9%2E{MARK}",
    "a client's secret": f"swcs_{MARK}_0123abcd",
    "a database's URL": f"postgresql://sealwright:{MARK}@db.example.com:5432/auth",
    "a database's URL with a password that nobody encoded": f"postgresql://sealwright:a/{MARK}@b#c@db/auth",
    "a Redis URL": f"redis://:{MARK}@127.0.0.1:6379/0",
    "a hash by Argon2": f"$argon2id$v=19$m=65536,t=3,p=4$c2FsdHNhbHQ${MARK}",
    "a hash by bcrypt": f"$2b$12${MARK}",
    "a bearer token": f"Bearer {MARK}",
    "Basic credentials": f"authorization: basic {MARK}==",
    "a form": f"grant_type=password&username=alice&password={MARK}&scope=account",
    "an encoded form": f"client_secret%3D{MARK}",
    "JSON": json.dumps({"username": "alice", "current_password": MARK}),
    "JSON in JSON": json.dumps({"body": json.dumps({"refresh_token": MARK})}),
    "a dict's text": repr({"client_assertion": MARK}),
    "a cookie": f"Cookie: {MARK}; theme=dark",
    "a code": f"https://app.example.com/callback?code={MARK}&state=x",
    "a DSN": f"host=db user=sealwright password='{MARK} with a space' dbname=auth",
    "a private key": f"-----BEGIN PRIVATE KEY-----\nMIIE{MARK}\n-----END PRIVATE KEY-----",
    "a private key cut off": f"-----BEGIN RSA PRIVATE KEY-----\nMIIE\n{MARK}",
    "a private key on one line": f"-----BEGIN EC PRIVATE KEY-----\\nMIIE{MARK}\\n-----END EC PRIVATE KEY-----",
    "after another": f"token password={MARK}",
    "after another and a backslash": f"password=token\\\\={MARK}",
    "in the quotes of another": f"password=\"a token='{MARK}\" {MARK}'",
    "after a scheme and a scheme": f"bearer bearer {MARK}",
    "a private JWK": json.dumps({"kty": "RSA", "n": "public", "d": MARK}),
}

NAMES = [
    "password",
    "new_password",
    "passwd",
    "client_secret",
    "token",
    "access_token",
    "refresh-token",
    "Authorization",
    "Set-Cookie",
    "client_assertion",
    "code",
    "code_verifier",
    "private_key",
    "X-Api-Key",
    "password_hash",
    "credentials",
]

around = st.text(st.characters(codec="utf-8"), max_size=20) | st.sampled_from(
    [
        *SHAPES.values(),
        "Bearer aaaaaa",
        "eyJaaaaaa.",
        "swaa_aaaaaaaaaaaaaaaa",
        "://",
        '"',
        "'",
        "password=",
        "\\",
    ]
).map(lambda text: text.replace(MARK, "x" * 32))


def line(message: object, *arguments: object, rendering: logs.Rendering = "json", **more: Any) -> str:
    record = logging.LogRecord("redis", logging.ERROR, "", 1, message, arguments, more.pop("exc_info", None))
    record.__dict__ |= more
    return logs.formatter(rendering).format(record)


def raised(text: str) -> Any:
    """What a traceback of two exceptions, one the other's cause, is made of; a variable holds the text too."""
    try:
        try:
            raise ValueError(text)  # noqa: TRY301
        except ValueError as error:
            raise RuntimeError(f"because of {text}") from error
    except RuntimeError:
        return sys.exc_info()


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
@settings(max_examples=30)
@given(before=around, after=around)
@example(before="", after="")
def test_what_looks_like_a_secret_is_taken_out_wherever_it_stands(
    secret: str, before: str, after: str
) -> None:
    text = before + secret + after

    for written in (
        line(text),
        line("said: %s", text),
        line("said: %r", {"a": [text]}),
        line("nested", extra_value={"a": [{"b": (text,)}], "c": {text}}),
        line("a name", extra_value={text: 1}),
        line("bytes", extra_value=text.encode()),
        line("an object", extra_value=ValueError(text)),
        line("in text", extra_value=text, rendering="text"),
    ):
        assert MARK not in written


@pytest.mark.parametrize("secret", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("rendering", ["json", "text"])
def test_what_looks_like_a_secret_is_taken_out_of_tracebacks(secret: str, rendering: logs.Rendering) -> None:
    written = line("it failed", exc_info=raised(secret), rendering=rendering)

    assert "ValueError" in written
    assert MARK not in written


@pytest.mark.parametrize("name", NAMES)
def test_what_is_named_as_a_secret_is_taken_out(name: str) -> None:
    for value in (MARK, [MARK], {"deep": MARK}, MARK.encode(), int(MARK, 16)):
        more: dict[str, Any] = {name: value, "outer": {"inner": [{name: value}]}}
        written = line("named", **more)
        assert MARK not in written
        assert str(int(MARK, 16)) not in written


@given(st.text(string.ascii_lowercase + " ,.:", max_size=80))
def test_words_stay_as_they_are(text: str) -> None:
    if not any(name in text for name in ("pass", "secret", "token", "pem", "cookie", "basic", "bearer")):
        assert redaction.text(text) == text


@pytest.mark.parametrize(
    "said",
    [
        "the refresh token is not valid any more; the user must sign in again",
        "key ring: 6ghJ6fur6b-LefLPDvyRF4ISH1PZ7VVdwJX9803WBQc signs, 1 keys are published",
        "session 6f1c9f0e-9d6a-4b57-a3a3-1f3ad8f3f5ab: reuse",
        "Redis evicts keys: set maxmemory-policy to noeviction (it is allkeys-lru)",
    ],
)
def test_what_we_say_ourselves_can_be_read(said: str) -> None:
    assert redaction.text(said) == said


def test_our_secrets_of_today_are_known_by_their_prefix() -> None:
    secret = new_secret()

    assert redaction.text(f"it is {secret}.") == "it is [redacted]."


CRAFTED = [
    *(
        "://",
        "://a@",
        "-----BEGIN PRIVATE KEY",
        "-----BEGIN ",
        "eyJaaaaaa.",
        "eyJaaaaaa%2E",
        "$2b$",
        "$argon2",
    ),
    *(
        "swaa_aaaaaaaaaaaaaaaa",
        "bearer+",
        "bearer ",
        "basic%20",
        "password=",
        "token token=",
        'pem="',
        "password\\",
    ),
    *('"d":"', ".code%3D", "code=", "secret='", "token=\"a token='"),
]


@pytest.mark.parametrize("fragment", CRAFTED)
def test_a_text_made_for_it_costs_no_more_than_its_length(fragment: str) -> None:
    def took(characters: int) -> float:
        value = fragment * (characters // len(fragment))
        return min(timeit.repeat(lambda: redaction.text(value), number=1, repeat=5, timer=time.thread_time))

    assert took(16_000) < 9 * took(4_000)  # four times where it is linear, sixteen where it is not


@given(st.text(max_size=200))
def test_a_line_is_one_line_and_json(text: str) -> None:
    written = line("%s", text, extra_value=text)

    assert "\n" not in written
    assert json.loads(written)["level"] == "error"


@given(st.text(max_size=200))
def test_a_text_line_is_one_line_without_escape_sequences(text: str) -> None:
    written = line("%s", text, extra_value=text, rendering="text")

    assert len(written.splitlines()) == 1
    assert "\x1b" not in written


def test_what_cannot_be_rendered_is_told_of_without_it(capsys: pytest.CaptureFixture[str]) -> None:
    handler = logs.Stderr()
    handler.setFormatter(logs.formatter("json"))
    handler.handle(logging.LogRecord("sealwright", logging.ERROR, "/x/y.py", 1, "%d", (MARK,), None))

    said = capsys.readouterr().err
    assert MARK not in said
    assert "y could not be logged" in said
