"""`sealwright token decode`: everything that can be found out about a token, whatever is missing."""

import base64
import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from service.signing import Policy, TokenType
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, Tokens, claims, tokens
from tests.support.command import Command, at_a_terminal
from tests.support.deployment import Deployment
from tests.support.ring import generate, load


def decoded(command: Command, token: str, code: int = 0) -> dict[str, Any]:
    report: dict[str, Any] = command.json("token", "decode", stdin=token, code=code)
    return report


def standing(command: Command, token: str) -> tuple[bool | None, str]:
    found = decoded(command, token)["standing"]
    return found["good"], found["says"]


def signed(deployment: Deployment, typ: TokenType, payload: dict[str, Any]) -> str:
    """A token of the deployment's key, with any claims."""
    now = datetime.now(UTC)
    ring = load(deployment.keys_dir, Policy.of(deployment.settings), now)
    return ring.sign(typ, json.dumps(payload).encode(), now.timestamp())


def unsigned(header: dict[str, Any], payload: dict[str, Any]) -> str:
    parts = (
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=") for part in (header, payload)
    )
    return ".".join((*parts, "c2lnbmF0dXJl"))


def test_a_live_access_token_is_told_whole(command: Command, api: Api) -> None:
    token = api.sign_in()
    report = decoded(command, token.access)

    assert report["kind"] == "access"
    assert report["header"]["typ"] == "at+jwt"
    assert report["claims"] == token.claims
    assert "was made" in report["times"]["iat"]
    assert report["times"]["exp"].endswith("expires in 15 minutes")
    assert "its user signed in" in report["times"]["auth_time"]
    assert report["signature"] == {"good": True, "says": "holds: made with this deployment's key, active now"}
    assert report["validity"] == {"good": True, "says": "made by this issuer, and in time"}
    assert report["standing"] == {"good": True, "says": "not revoked"}
    assert report["active"]


def test_people_see_the_same_in_words(deployment: Deployment, api: Api) -> None:
    token = api.sign_in()
    shown = deployment.cli("token", "decode", "-", stdin=f"Bearer {token.access}\n").stdout

    assert shown.startswith("Access token\n")
    assert "expires in 15 minutes" in shown
    assert token.claims["sub"] in shown
    assert "not revoked" in shown
    assert token.access not in shown


@pytest.mark.parametrize(
    ("ended_by", "said"),
    [
        ("session", "with its session: administrator"),
        ("user", "with all tokens of its user: logout all"),
        ("client", "with all tokens of its client: client disabled"),
        ("token", "by itself: revoked"),
    ],
)
def test_a_revoked_access_token_tells_what_revoked_it(
    command: Command, api: Api, actors: Actors, ended_by: str, said: str
) -> None:
    user, client = actors.user(), actors.client()
    token = api.sign_in(user.username, PASSWORD, **client.form)
    match ended_by:
        case "session":
            command("sessions", "revoke", token.claims["sid"])
        case "user":
            command("sessions", "revoke", "--user", user.username)
        case "client":
            command("clients", "disable", client.id)
        case _:
            assert (
                api.http.post("/revoke", data={"token": token.access}, auth=client.basic).status_code == 200
            )

    good, says = standing(command, token.access)

    assert good is False
    assert says.startswith("revoked ")
    assert says.endswith(said)
    assert decoded(command, token.access)["active"] is False


def test_a_refresh_token_tells_where_it_stands_in_its_session(
    command: Command, api: Api, actors: Actors
) -> None:
    first = api.sign_in(actors.user().username, PASSWORD)
    assert decoded(command, first.refresh)["kind"] == "refresh"
    assert standing(command, first.refresh) == (True, "the live one of its session (generation 0)")

    second = tokens(api.refresh(first.refresh))
    good, says = standing(command, first.refresh)
    assert good
    assert "within the grace period" in says

    third = tokens(api.refresh(second.refresh))
    assert standing(command, first.refresh) == (
        False,
        "exchanged before: whoever presents it ends the session",
    )
    # Looking is not presenting.
    assert standing(command, third.refresh) == (True, "the live one of its session (generation 2)")

    assert api.refresh(first.refresh).status_code == 400
    good, says = standing(command, third.refresh)
    assert good is False
    assert says.startswith("its session ended ")
    assert says.endswith(": reuse")


def test_the_grace_period_is_the_clients_own(command: Command, api: Api, actors: Actors) -> None:
    client = actors.client()
    command("clients", "add", f"{client.id}-strict", "--public", "--first-party", "--refresh-grace", "0",
            "--grant", "password", "--grant", "refresh_token")  # fmt: skip
    first = api.sign_in(actors.user().username, PASSWORD, client_id=f"{client.id}-strict")
    tokens(api.refresh(first.refresh))

    assert standing(command, first.refresh)[1].startswith("exchanged before")


def test_a_refresh_token_of_a_disabled_client_or_an_unknown_session_says_so(
    command: Command, deployment: Deployment, api: Api, actors: Actors
) -> None:
    client = actors.client()
    token = api.sign_in(actors.user().username, PASSWORD, **client.form)
    actors.disable_client(client)
    assert standing(command, token.refresh) == (
        False,
        "its user or client is disabled, or was since the session began",
    )

    stranger = claims(token.refresh) | {"sid": "6f9619ff-8b86-4011-b42d-00c04fc964ff"}
    good, says = standing(command, signed(deployment, "rt+jwt", stranger))
    assert good is False
    assert "not known here" in says


def test_a_token_that_is_over_says_so_and_what_had_become_of_it(
    command: Command, deployment: Deployment, api: Api, actors: Actors
) -> None:
    token = api.sign_in(actors.user().username, PASSWORD)
    over = signed(deployment, "at+jwt", token.claims | {"iat": time.time() - 7200, "exp": time.time() - 3600})
    report = decoded(command, over)
    assert "expired 60 minutes ago" in report["times"]["exp"]
    assert report["signature"]["good"]
    assert report["validity"] == {"good": False, "says": "not valid: exp is past"}
    assert report["standing"]["says"] == "not revoked"
    assert report["active"] is False

    command("sessions", "revoke", token.claims["sid"])
    assert "with its session" in standing(command, over)[1]


@pytest.mark.parametrize(
    ("claim", "value", "said"),
    [
        ("iss", "https://else.example.com", "iss is not the issuer trusted here"),
        ("iat", "today", "iat is not a time"),
        ("exp", None, "exp is not a time"),
        ("jti", 7, "jti is not a string of bounded length"),
    ],
)
def test_claims_that_no_service_would_take_are_named(
    command: Command, deployment: Deployment, api: Api, claim: str, value: object, said: str
) -> None:
    report = decoded(command, signed(deployment, "at+jwt", api.sign_in().claims | {claim: value}))

    assert report["validity"] == {"good": False, "says": f"not valid: {said}"}
    assert report["standing"]["good"] is None


def other(token: Tokens) -> str:
    """The header and the signature of an access token around the claims of the refresh token."""
    header, _, signature = token.access.split(".")
    return ".".join((header, token.refresh.split(".")[1], signature))


def test_a_signature_that_does_not_hold_is_an_error_and_nothing_more_is_believed(
    command: Command, api: Api
) -> None:
    report = decoded(command, other(api.sign_in()), code=1)

    assert report["signature"] == {
        "good": False,
        "says": "does not hold here: the signature is not the key's",
    }
    assert report["standing"]["good"] is None
    assert report["active"] is False
    assert "does not hold here" in command("token", "decode", stdin=other(api.sign_in()), code=1).stdout


@pytest.mark.parametrize(
    ("header", "said"),
    [
        ({"alg": "none", "typ": "at+jwt", "kid": ""}, "alg is not one of those expected here"),
        ({"alg": "RS256", "typ": "at+jwt", "kid": "nobody's"}, "no key goes by this kid"),
        ({"alg": "RS256", "typ": "at+jwt", "kid": ["a", "list"]}, "kid is missing or not a string"),
        ({"alg": "RS256", "typ": "JWT"}, "typ is neither at+jwt nor rt+jwt"),
        ({}, "typ is neither at+jwt nor rt+jwt"),
        ({"alg": "RS256", "typ": 7}, "typ is neither at+jwt nor rt+jwt"),
    ],
)
def test_a_token_of_another_make_is_shown_and_refused(
    command: Command, header: dict[str, Any], said: str
) -> None:
    report = decoded(command, unsigned(header, {"iss": "me", "exp": 1e300, "iat": True}), code=1)

    assert report["claims"]["iss"] == "me"
    assert said in report["signature"]["says"]


def test_a_claim_cannot_command_the_terminal(command: Command) -> None:
    token = unsigned({"typ": "x\x1b]0;owned\x07"}, {"[/red]": "\x9b2J\u202e[bold]", "deep": {"er": "\ud800"}})

    shown = command("token", "decode", stdin=token, code=1).stdout

    assert "[/red]" in shown
    assert "\\x9b2J\\u202e[bold]" in shown
    assert not {"\x1b", "\x07", "\x9b", "\u202e", "\ud800"} & set(shown)
    assert command("token", "decode", "--json", stdin=token, code=1).stdout.isascii()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "There is no token"),
        (" \n", "There is no token"),
        ("Bearer ", "There is no token"),
        ("swcs_secret", "three parts"),
        ("a.b", "three parts"),
        ("a.b.c.d.e", "encrypted JWT"),
        ("a.b.c", "its header is not a JSON object"),
        ("e30.W10.x", "its payload is not a JSON object"),
        ("e30.e30é.x", "its payload is not a JSON object"),
        ("W1tb" * 9000 + ".e30.x", "its header is not a JSON object"),
        ("W1tb" * 18000 + ".e30.x", "longer than"),
    ],
)
def test_what_is_no_token_is_one_line_that_does_not_repeat_it(command: Command, text: str, said: str) -> None:
    line = command.refused("token", "decode", stdin=text)

    assert said in line
    assert len(line) < 100
    assert "swcs" not in line


def test_numbers_that_json_does_not_have_are_shown_as_they_stand(command: Command) -> None:
    payload = base64.urlsafe_b64encode(b'{"a": 1e999, "b": NaN, "c": 1.5}').decode().rstrip("=")
    report = decoded(command, f"e30.{payload}.x", code=1)

    assert report["claims"] == {"a": "1e999", "b": "NaN", "c": 1.5}


def test_a_token_is_never_an_argument(command: Command, api: Api) -> None:
    token = api.sign_in().access
    line = command.refused("token", "decode", token)

    assert "pipe it in" in line
    assert token not in line


def test_a_token_wrapped_by_an_editor_or_quoted_is_still_one(command: Command, api: Api) -> None:
    token = api.sign_in().access
    wrapped = "\n".join(token[at : at + 64] for at in range(0, len(token), 64))

    assert decoded(command, f'  "{wrapped}"\r\n')["active"]


def test_at_a_terminal_the_token_is_pasted_unseen(deployment: Deployment, api: Api) -> None:
    token = api.sign_in().access
    seen, code = at_a_terminal(deployment, ["token", "decode"], [token])

    assert code == 0, seen
    assert "Token: " in seen
    assert token[:40] not in seen
    assert "not revoked" in seen


def test_without_postgres_all_but_the_standing_is_known(
    command: Command, deployment: Deployment, api: Api
) -> None:
    token = api.sign_in().access
    command.of(deployment.having(database_url="postgresql://nobody@127.0.0.1:1/none"))
    report = decoded(command, token)

    assert report["signature"]["good"]
    assert report["validity"]["good"]
    assert report["standing"]["good"] is None
    assert "Postgres cannot be reached" in report["standing"]["says"]
    assert report["active"] is None


def test_with_an_empty_database_the_standing_says_what_to_run(
    command: Command, deployment: Deployment, empty_database: str, api: Api
) -> None:
    token = api.sign_in().access
    command.of(deployment.having(database_url=empty_database))

    assert "Run: sealwright migrate" in standing(command, token)[1]


def test_without_settings_it_is_decoded_all_the_same(command: Command, tmp_path: Path, api: Api) -> None:
    token = api.sign_in()
    command.without_settings(tmp_path)
    report = decoded(command, token.access)

    assert report["claims"] == token.claims
    assert report["signature"]["good"] is None
    assert "Run: sealwright keys generate" in report["signature"]["says"]
    assert report["active"] is None
    assert "not checked" in command("token", "decode", stdin=token.access).stdout


def test_with_the_keys_alone_the_signature_is_known(
    command: Command, deployment: Deployment, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, api: Api
) -> None:
    token = api.sign_in().access
    command.without_settings(tmp_path)
    monkeypatch.setenv("SEALWRIGHT_KEYS_DIR", str(deployment.keys_dir))
    report = decoded(command, token)

    assert report["signature"]["good"]
    assert "SEALWRIGHT_ISSUER is not set" in report["validity"]["says"]


def test_another_deployments_token_does_not_hold(
    command: Command, deployment: Deployment, tmp_path: Path, api: Api
) -> None:
    token = api.sign_in().access
    generate(tmp_path / "keys", "ES256", datetime.now(UTC))
    command.of(deployment.having(keys_dir=str(tmp_path / "keys")))

    assert (
        decoded(command, token, code=1)["signature"]["says"] == "does not hold here: no key goes by this kid"
    )
