"""The application in this process: the issuer is sealwright's for tests, PostgreSQL a real one.

`TEST_DATABASE_URL` says which; each test has a schema of its own there.
"""

import asyncio
import secrets
from collections.abc import Iterator
from os import environ  # noqa: TID251  # where the tests' database is

import asyncpg
import pytest
from fastapi.testclient import TestClient

from orders.app import build
from orders.settings import Settings
from sealwright.testing import Issuer, issuer, issuer_key

__all__ = ["issuer", "issuer_key"]  # the fixtures


@pytest.fixture
def database_url() -> Iterator[str]:
    url = environ["TEST_DATABASE_URL"]
    schema = f"orders_{secrets.token_hex(6)}"

    async def run(statement: str) -> None:
        db = await asyncpg.connect(url)
        await db.execute(statement)
        await db.close()

    asyncio.run(run(f"CREATE SCHEMA {schema}"))
    yield f"{url}{'&' if '?' in url else '?'}search_path={schema}"
    asyncio.run(run(f"DROP SCHEMA {schema} CASCADE"))


@pytest.fixture
def settings(database_url: str, issuer: Issuer) -> Settings:
    return Settings(
        _env_file=None,
        database_url=database_url,
        issuer=issuer.url,
        audience=issuer.audience,
        client_id=issuer.client_id,
        client_secret=issuer.client_secret,
    )


@pytest.fixture
def api(settings: Settings, issuer: Issuer) -> Iterator[TestClient]:
    with TestClient(build(settings, issuer.verifier())) as client:
        yield client
