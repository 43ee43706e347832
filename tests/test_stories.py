"""`sealwright sessions why`: what happened to a session, why it ended, and what to tell its user."""

from datetime import UTC, datetime, timedelta
from typing import get_args
from uuid import UUID, uuid4

from service.cli import reasons, story
from service.revocation import Reason
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, Tokens, tokens
from tests.support.command import Command
from tests.support.database import sql
from tests.support.deployment import Deployment


def why(command: Command, session: Tokens) -> str:
    return command("sessions", "why", session.claims["sid"]).stdout


def test_a_live_session_is_told_from_its_beginning_to_its_last_refresh(
    command: Command, api: Api, actors: Actors
) -> None:
    user = actors.user()
    session = api.sign_in(user.username, PASSWORD)
    again, *_ = [tokens(api.refresh(session.refresh)) for _ in range(3)]

    told = why(command, session)

    assert f"{user.username} signed in with a password through demo-app, from 127.0.0.1" in told
    assert "Refreshed once, last 20" in told
    assert "Replayed 2 times, last 20" in told
    assert "Alive: good until 20" in told
    assert "Tell the user" not in told
    for token in (again.access, again.refresh):
        assert command("sessions", "why", "-", stdin=token).stdout.startswith("Started 20")


def test_each_end_has_its_words_for_people_and_for_the_user(
    command: Command, api: Api, actors: Actors
) -> None:
    user, client = actors.user(), actors.client()
    logout, by_operator = (api.sign_in(user.username, PASSWORD) for _ in range(2))
    revoked = api.sign_in(user.username, PASSWORD, **client.form)
    api.http.post("/logout", headers={"Authorization": f"Bearer {logout.access}"})
    api.http.post("/revoke", data={"token": revoked.refresh}, auth=client.basic)

    assert "its user signed out (127.0.0.1)" in why(command, logout)
    assert "Tell the user: You signed out." in why(command, logout)
    assert "its client revoked the refresh token" in why(command, revoked)
    command("sessions", "revoke", by_operator.claims["sid"])
    assert "an operator ended it (" in why(command, by_operator)
    assert "signed out by our support" in why(command, by_operator)


def test_every_reason_that_ends_a_session_has_words_and_one_of_a_newer_release_is_told_as_it_is() -> None:
    kills_tokens_alone = {"roles_changed", "user_updated", "user_enabled", "client_enabled"}

    assert set(reasons.WORDS) == set(get_args(Reason)) - kills_tokens_alone
    assert reasons.said("moon_rose").tell == "You were signed out (moon rose). Please sign in again."


def test_a_session_that_expired_or_lost_its_client_says_so(
    command: Command, deployment: Deployment, api: Api, actors: Actors
) -> None:
    user, client = actors.user(), actors.client()
    expired, shut_out = (
        api.sign_in(user.username, PASSWORD),
        api.sign_in(user.username, PASSWORD, **client.form),
    )
    sql(
        deployment.database_url,
        "UPDATE sessions SET expires_at = clock_timestamp() - interval '3 hours' WHERE id = $1",
        UUID(expired.claims["sid"]),
    )
    actors.disable_client(client)

    assert "(3 hours ago): it was not refreshed for too long" in why(command, expired)
    assert "you had not used it for a long time" in why(command, expired)
    assert "its user or client is disabled" in why(command, shut_out)
    assert "switched off" in why(command, shut_out)


def test_reuse_is_told_with_what_tells_theft_from_a_late_retry(
    command: Command, deployment: Deployment, api: Api
) -> None:
    late, copied = api.sign_in(), api.sign_in()
    tokens(api.refresh(late.refresh))
    second = tokens(api.refresh(copied.refresh))
    tokens(api.refresh(second.refresh))
    sql(
        deployment.database_url,
        "UPDATE sessions SET refreshed_at = refreshed_at - interval '45 seconds' WHERE id = $1",
        UUID(late.claims["sid"]),
    )
    assert [api.refresh(session.refresh).status_code for session in (late, copied)] == [400, 400]

    retry, theft = why(command, late), why(command, copied)

    assert "had been exchanged 45 seconds before; the grace period is 30 seconds" in retry
    assert "Likely a client that lost the answer" in retry
    assert "an older token" in theft
    assert "Likely a copied token" in theft
    assert "used twice" in retry
    document = command.json("sessions", "why", late.claims["sid"])
    assert (document["state"], document["end_reason"]) == ("ended", "reuse")
    assert (document["reuse"]["likely"], document["reuse"]["same_origin"]) == ("a late retry", True)
    assert [event["event"] for event in document["events"]] == [
        "session.started",
        "session.ended",
        "session.reuse",
    ]
    assert document["tell_user"] in retry


def test_another_address_speaks_for_a_copy() -> None:
    now = datetime.now(UTC)
    began = {"refreshed_at": now - timedelta(seconds=40), "address": "192.0.2.1", "user_agent": "app"}
    event = {"at": now, "detail": "the token before", "address": "198.51.100.9", "user_agent": "app"}

    def likely(**changed: object) -> str:
        return story.reuse_of({**event, **changed}, began, timedelta(seconds=30)).likely

    assert likely() == "a copied token"
    assert likely(address="192.0.2.1") == "a late retry"
    assert likely(address="192.0.2.1", at=now + timedelta(hours=2)) == "not clear"
    assert likely(address="192.0.2.1", detail="an older token") == "a copied token"


def test_a_session_whose_row_is_gone_is_told_from_the_audit_events(
    command: Command, deployment: Deployment, api: Api, actors: Actors
) -> None:
    user = actors.user()
    ended, silent = (api.sign_in(user.username, PASSWORD) for _ in range(2))
    command("sessions", "revoke", ended.claims["sid"])
    sql(deployment.database_url, "DELETE FROM sessions WHERE user_id = $1", user.id)

    assert f"{user.username} signed in with a password" in why(command, ended)
    assert "an operator ended it" in why(command, ended)
    assert "its row is gone. Nothing ended it" in why(command, silent)


def test_an_unknown_session_is_refused_with_what_that_may_mean(command: Command) -> None:
    assert "Nothing is known of session" in command.refused("sessions", "why", str(uuid4()))
    assert "is no session id" in command.refused("sessions", "why", "nonsense")
    assert command.refused("sessions", "why", "-", stdin="nonsense")
