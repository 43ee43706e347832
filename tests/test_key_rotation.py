"""Keys that change under a running service: nobody is refused, and the old private half is gone."""

import asyncio
import json
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx2
import pytest

from tests.support.client import Api, kid, tokens
from tests.support.database import until
from tests.support.deployment import Deployment

pytestmark = pytest.mark.anyio


def private_keys(keys_dir: Path) -> set[str]:
    return {file.stem for file in keys_dir.glob("*.pem")}


async def test_a_rotation_of_the_keys_is_taken_up_by_a_running_service_and_refuses_nobody(
    deployment: Deployment, empty_database: str, tmp_path: Path
) -> None:
    # A record of its own: a key signs only once every replica of the record publishes it.
    own = replace(deployment, database_url=empty_database, directory=tmp_path).having(
        jwks_max_age="1", key_publication="1", key_watch_interval="0.2"
    )
    await asyncio.to_thread(own.prepare)
    with own.serving(workers=2) as server, httpx2.Client(base_url=server.url, timeout=20) as http:
        api = Api(http)
        before = api.sign_in()
        old = kid(before.access)

        own.cli("keys", "generate")
        (new,) = [
            key["kid"] for key in json.loads(own.cli("keys", "list", "--json").stdout) if key["kid"] != old
        ]
        own.cli("keys", "rotate")

        async def published() -> set[str]:
            return {key["kid"] for key in http.get("/.well-known/jwks.json").json()["keys"]}

        await until(published, lambda kids: kids == {old, new}, "both keys are published")
        assert kid(api.sign_in().access) == old, "a new key signs only once everybody had time to fetch it"

        seen = before
        async with asyncio.timeout(30):
            while kid(seen.access) != new:
                seen = tokens(api.refresh(seen.refresh))
                assert api.is_alive(seen.access)
                assert api.is_alive(before.access)
                await asyncio.sleep(0.1)

        assert await published() == {old, new}
        assert api.is_alive(before.access)
        assert kid(tokens(api.refresh(seen.refresh)).refresh) == new

        await until(
            partial(asyncio.to_thread, private_keys, own.keys_dir),
            lambda kids: kids == {new},
            "the old private half is gone",
            within=30,
        )
        assert api.is_alive(before.access)
