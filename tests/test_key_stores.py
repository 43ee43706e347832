"""The second store: keys in Postgres, sealed; and moving between the two."""

import asyncio
import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from service.cli.connect import opened
from service.signing import KeyRingError, Policy, PostgresStore, changes, signer
from service.signing.sealing import Seals
from tests.support.client import Api, kid, tokens
from tests.support.database import sql
from tests.support.deployment import KEY_ENCRYPTION_KEY, Deployment

OLD = KEY_ENCRYPTION_KEY
NEW = base64.b64encode(bytes([2]) * 32).decode()


def listed(deployment: Deployment) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(deployment.cli("keys", "list", "--json").stdout)
    return found


def refusal(deployment: Deployment, *command: str) -> str:
    done = deployment.cli(*command, check=False)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    return done.stderr


def test_nothing_in_the_database_can_sign_or_be_put_in_another_place(sealed: Deployment) -> None:
    url = sealed.database_url
    [key] = listed(sealed)
    rows = sql(url, "SELECT kid, sealed FROM signing_keys")
    assert [row["kid"] for row in rows] == [key["kid"]]
    assert b"PRIVATE" not in rows[0]["sealed"]
    seals = Seals.of(sealed.settings)
    pem = seals.open(rows[0]["sealed"], f"private key {key['kid']}")
    assert pem.startswith(b"-----BEGIN PRIVATE KEY-----")
    with pytest.raises(KeyRingError, match="KEY_ENCRYPTION_KEY"):
        seals.open(rows[0]["sealed"], "private key other")
    assert "Seals()" in repr(seals)

    wrong = sealed.having(key_encryption_key=NEW)
    for command in (["serve"], ["keys", "list"], ["keys", "rotate"], ["keys", "generate"]):
        assert "SEALWRIGHT_KEY_ENCRYPTION_KEY" in refusal(wrong, *command)
    assert "openssl rand" in refusal(sealed.having(key_encryption_key=""), "keys", "list")
    assert "openssl rand" in refusal(sealed.having(key_encryption_key="c2hvcnQ="), "serve")

    for table in ("signing_ring", "signing_keys"):
        sql(url, f"UPDATE {table} SET sealed = set_byte(sealed, 20, (get_byte(sealed, 20) + 1) % 256)")
        assert "somebody has changed it" in refusal(sealed, "serve")
        sql(url, f"UPDATE {table} SET sealed = set_byte(sealed, 20, (get_byte(sealed, 20) + 255) % 256)")
    assert listed(sealed) == [key]


def test_the_key_encryption_key_can_be_changed_and_come_from_a_file(
    sealed: Deployment, tmp_path: Path
) -> None:
    file = tmp_path / "kek"
    file.write_text(f"{NEW}\n{OLD}\n")
    both = sealed.having(key_encryption_key="", key_encryption_key_file=str(file))

    assert "1 private keys are sealed" in both.cli("keys", "reseal").stderr
    file.write_text(NEW)

    assert listed(both) == listed(sealed.having(key_encryption_key=NEW))
    assert "SEALWRIGHT_KEY_ENCRYPTION_KEY" in refusal(sealed, "keys", "list")
    assert "cannot be read" in refusal(
        sealed.having(key_encryption_key_file=str(tmp_path / "none")), "keys", "list"
    )


async def together(deployment: Deployment, parties: int) -> list[str]:
    settings = deployment.settings
    policy = Policy.of(settings)

    async def one() -> str:
        async with opened(settings) as database:
            store = PostgresStore(database, Seals.of(settings))
            entry = (await store.change(changes.rotate("ES256", policy, datetime.now(UTC), ()))).entry
            assert entry is not None
            return entry.kid

    return await asyncio.gather(*(one() for _ in range(parties)))


def test_rotations_in_postgres_at_the_same_moment_are_one(sealed: Deployment) -> None:
    slow = sealed.having(key_watch_interval="60")
    kids = asyncio.run(together(slow, 5))

    assert len(set(kids)) == 1
    assert [key["kid"] for key in listed(slow)][1:] == kids[:1]
    assert len(sql(sealed.database_url, "SELECT FROM signing_keys")) == 2


def test_a_key_made_elsewhere_becomes_the_next(sealed: Deployment, tmp_path: Path) -> None:
    key, pem = signer.make("ES256")
    file = tmp_path / "mine.pem"
    file.write_bytes(pem)

    assert "is the next key" in sealed.cli("keys", "import", str(file)).stderr
    assert [(k["kid"], k["state"]) for k in listed(sealed)][1:] == [(key.kid, "next")]
    assert "in the ring already" in refusal(sealed, "keys", "import", str(file))
    file.write_bytes(signer.make("RS256")[1])
    assert "is no key for ES256" in refusal(sealed, "keys", "import", str(file))
    file.write_bytes(b"secret words")
    assert "secret" not in refusal(sealed, "keys", "import", str(file))


def test_a_ring_moves_while_services_run_and_no_signature_is_refused(sealed: Deployment) -> None:
    files = sealed.having(key_store="files")
    back = sealed.cli("keys", "move", "--to", "files")
    assert "Set SEALWRIGHT_KEY_STORE=files" in back.stderr
    assert "was moved to files" in refusal(sealed, "keys", "rotate")
    with (
        sealed.serving(workers=1) as one,
        files.serving(workers=1) as two,
        httpx2.Client(base_url=one.url, timeout=20) as left,
        httpx2.Client(base_url=two.url, timeout=20) as right,
    ):
        old, new = Api(left), Api(right)
        session = old.sign_in()
        assert new.is_alive(session.access)
        assert old.is_alive(tokens(new.refresh(session.refresh)).access)

        said = files.cli("keys", "rotate").stderr
        upcoming = said.split()[0]
        assert "once every running replica" in said
        assert "1 workers still read the ring from postgres" in refusal(
            files, "keys", "move", "--to", "files", "--done"
        )
        assert kid(new.sign_in().access) != upcoming

    with files.serving(workers=1) as two, httpx2.Client(base_url=two.url, timeout=20) as right:
        gone = files.cli("keys", "move", "--to", "files", "--done").stderr
        assert gone == "1 private keys in postgres are destroyed.\n"
        assert sql(sealed.database_url, "SELECT FROM signing_keys") == []
        assert Api(right).is_alive(session.access)
