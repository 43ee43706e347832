"""A key that somebody else may have: everything that it signed is dead."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import httpx2
import pytest

from service.cli import demo
from service.revocation import Revocation
from service.signing import files
from tests.support import ring
from tests.support.client import SERVICE_AUTH, Api, Tokens, bearer, kid, tokens
from tests.support.command import Command
from tests.support.database import sql
from tests.support.deployment import METRICS_TOKEN, PRESSED, Deployment, Server, drop_database, new_database
from tests.support.processes import eventually


@pytest.fixture(scope="module")
def own(server_urls: tuple[str, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    """A deployment of its own: the replicas of another would be counted, and waited for."""
    url = new_database(server_urls[0])
    folder = tmp_path_factory.mktemp("compromised")
    made = Deployment(url, server_urls[1], folder, "http://localhost:8000")
    own = made.having(**PRESSED, metrics_token=METRICS_TOKEN)
    own.prepare()
    yield own
    drop_database(server_urls[0], url)


@pytest.fixture(scope="module")
def server(own: Deployment) -> Iterator[Server]:
    with own.serving(workers=2) as running:
        yield running


def test_a_revoked_key_kills_every_token_that_it_signed_and_no_other(
    deployment: Deployment, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = deployment.having(keys_dir=str(tmp_path))
    own.cli("keys", "generate")
    command = Command(own, monkeypatch)
    with own.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        api = Api(http)
        session = api.sign_in(client_id=demo.SERVICE.client_id, client_secret=demo.SERVICE.secret or "")
        alone = tokens(http.post("/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH))
        assert api.is_alive(session.access)
        assert active(api, session.refresh)

        asyncio.run(revoke_key(own, kid(session.access)))

        assert not api.is_alive(session.access)
        assert not api.introspect(alone.access)["active"]
        assert not active(api, session.refresh)
        for token in (session.access, session.refresh):
            standing = command.json("token", "decode", stdin=token)["standing"]
            assert standing["good"] is False
            assert standing["says"].endswith("with everything that its key signed: key compromised")


class TestCompromise:
    """`sealwright keys compromise`, while two workers serve."""

    def test_of_a_next_key_touches_nobody(self, own: Deployment, api: Api) -> None:
        session = api.sign_in()
        upcoming = own.cli("keys", "generate").stderr.split()[0]
        eventually(lambda: upcoming in published(api), within=20)

        said = own.cli("keys", "compromise", upcoming, "--yes").stderr

        assert "0 sessions have ended" in said
        assert upcoming not in published(api)
        assert api.is_alive(session.access)
        assert kid(tokens(api.refresh(session.refresh)).access) == kid(session.access)

    def test_of_a_retired_key_ends_what_it_signed_last_alone(self, own: Deployment, api: Api) -> None:
        idle = api.sign_in()
        own.cli("keys", "rotate")
        eventually(lambda: kid(api.sign_in().access) != kid(idle.access), within=20)

        own.cli("keys", "compromise", kid(idle.access), "--yes")

        assert not api.is_alive(idle.access)
        assert api.refresh(idle.refresh).status_code == 400
        assert ended(own, idle) == "key_compromised"
        assert kid(idle.access) not in published(api)
        assert api.is_alive(api.sign_in().access)

    def test_of_the_active_key_lets_another_sign_at_once_and_may_be_repeated(
        self, own: Deployment, api: Api
    ) -> None:
        session = api.sign_in()
        old = kid(session.access)

        said = own.cli("keys", "compromise", old, "--yes").stderr

        assert "signs from now on" in said
        assert "2 running workers have dropped it" in said
        for _ in range(6):  # either worker
            assert not api.is_alive(session.access)
            assert api.refresh(session.refresh).status_code == 400
            fresh = api.sign_in()
            assert kid(fresh.access) != old
            assert api.is_alive(fresh.access)
        assert ended(own, session) == "key_compromised"
        assert not (own.settings.keys_dir / f"{old}.pem").exists()
        series = f'sealwright_signing_key{{kid="{old}",state="compromised"}} 1.0'
        eventually(lambda: series in api.http.get("/metrics", headers=bearer(METRICS_TOKEN)).text, within=15)
        again = own.cli("keys", "compromise", old, "--yes").stderr
        assert "0 sessions have ended" in again
        assert told(own, old) == 1

    def test_is_finished_by_a_worker_if_the_command_dies_once_the_ring_has_it(
        self, own: Deployment, api: Api
    ) -> None:
        session = api.sign_in()
        old = kid(session.access)

        ring.compromise(own.settings.keys_dir, old, "ES256", datetime.now(UTC))

        eventually(lambda: told(own, old) == 1 and ended(own, session) == "key_compromised", within=30)
        assert not api.is_alive(session.access)

        def settled() -> bool:
            return all(e.settled_at for e in files.read_entries(own.settings.keys_dir) if e.kid == old)

        eventually(settled, within=20)

    def test_asks_first(self, own: Deployment, api: Api) -> None:
        refused = own.cli("keys", "compromise", kid(api.sign_in().access), check=False)

        assert refused.returncode == 1
        assert "--yes" in refused.stderr
        assert api.is_alive(api.sign_in().access)


def published(api: Api) -> set[str]:
    return {key["kid"] for key in api.http.get("/.well-known/jwks.json").json()["keys"]}


def ended(deployment: Deployment, session: Tokens) -> str | None:
    [row] = sql(
        deployment.database_url, "SELECT end_reason FROM sessions WHERE id = $1", UUID(session.claims["sid"])
    )
    reason: str | None = row["end_reason"]
    return reason


def told(deployment: Deployment, key: str) -> int:
    return len(
        sql(
            deployment.database_url,
            "SELECT 1 FROM audit_events WHERE event = 'key.compromised' AND detail = $1",
            key,
        )
    )


async def revoke_key(deployment: Deployment, key: str) -> None:
    async with deployment.operator() as (_, revocations), revocations.transaction() as revoking:
        revoking.revoke(Revocation("kid", key, "key_compromised", timedelta(minutes=30)))


def active(api: Api, refresh_token: str) -> bool:
    """Whether the client that it was issued to is told that it is good."""
    return bool(api.introspect(refresh_token)["active"])
