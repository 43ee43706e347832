"""A key that somebody else may have: everything that it signed is dead."""

import asyncio
from datetime import timedelta
from pathlib import Path

import httpx2
import pytest

from service.cli import demo
from service.revocation import Revocation
from tests.support.client import SERVICE_AUTH, Api, kid, tokens
from tests.support.command import Command
from tests.support.deployment import Deployment


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


async def revoke_key(deployment: Deployment, key: str) -> None:
    async with deployment.operator() as (_, revocations), revocations.transaction() as revoking:
        revoking.revoke(Revocation("kid", key, "key_compromised", timedelta(minutes=30)))


def active(api: Api, refresh_token: str) -> bool:
    """Whether the client that it was issued to is told that it is good."""
    return bool(api.introspect(refresh_token)["active"])
