"""Lifetimes of a client's own: what its tokens and sessions get, never more than the deployment allows."""

from datetime import timedelta

import pytest

from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api, claims, tokens
from tests.support.command import Command
from tests.support.deployment import Deployment

HOUR, DAY = 3600, 86400


def test_a_clients_tokens_and_sessions_live_as_long_as_it_says(api: Api, actors: Actors) -> None:
    client = actors.client(
        confidential=False,
        access_token_lifetime=timedelta(seconds=90),
        refresh_token_idle=timedelta(hours=1),
        session_lifetime=timedelta(days=1),
    )

    session = api.sign_in(actors.user().username, PASSWORD, client_id=client.id)
    refreshed = tokens(api.refresh(session.refresh))

    for answer in (session, refreshed):
        assert answer.body["expires_in"] == 90
        assert answer.claims["exp"] - answer.claims["iat"] == 90
        refresh = claims(answer.refresh)
        assert refresh["exp"] - refresh["iat"] == HOUR


def test_a_session_that_may_not_last_as_long_as_it_may_idle_ends_first(api: Api, actors: Actors) -> None:
    client = actors.client(confidential=False, session_lifetime=timedelta(hours=1))

    session = api.sign_in(actors.user().username, PASSWORD, client_id=client.id)
    first, second = claims(session.refresh), claims(tokens(api.refresh(session.refresh)).refresh)

    assert first["exp"] - first["iat"] == HOUR
    assert abs(second["exp"] - first["exp"]) <= 1


def test_a_client_that_asks_for_nobody_gets_its_own_lifetime(api: Api, actors: Actors) -> None:
    client = actors.client(access_token_lifetime=timedelta(minutes=30))

    answer = tokens(api.http.post("/token", data={"grant_type": "client_credentials"}, auth=client.basic))

    assert answer.body["expires_in"] == 1800
    assert answer.claims["exp"] - answer.claims["iat"] == 1800


def test_a_maximum_that_was_lowered_since_holds_for_every_client(deployment: Deployment, api: Api) -> None:
    # As rows written under higher maxima: revocations and retired keys are kept for today's.
    client = Actors(deployment).client(
        access_token_lifetime=timedelta(days=1),
        refresh_token_idle=timedelta(days=100),
        session_lifetime=timedelta(days=1000),
    )
    form = {"grant_type": "password", "username": "alice", "password": "wonderland"}

    session = tokens(api.http.post("/token", data=form, auth=client.basic))

    refresh = claims(session.refresh)
    assert session.body["expires_in"] == HOUR
    assert refresh["exp"] - refresh["iat"] == 14 * DAY


@pytest.mark.parametrize(
    ("option", "seconds", "said"),
    [
        ("--access-token-lifetime", 2 * HOUR, "SEALWRIGHT_MAX_ACCESS_TOKEN_LIFETIME"),
        ("--refresh-token-idle", 15 * DAY, "SEALWRIGHT_REFRESH_TOKEN_IDLE"),
        ("--session-lifetime", 91 * DAY, "SEALWRIGHT_SESSION_LIFETIME"),
    ],
)
def test_more_than_the_deployments_is_not_registered(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, option: str, seconds: int, said: str
) -> None:
    command = Command(deployment, monkeypatch)

    assert said in command.refused("clients", "add", "too-long", option, str(seconds))
