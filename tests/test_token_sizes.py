"""No token is made that verifiers refuse for its size: what goes into tokens is bounded where it is registered."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sealwright import Key
from service.account import registration
from service.cli import demo
from service.cli.connect import opened
from service.clients import store as clients
from service.signing import Entry, files
from service.users.passwords import Passwords
from tests.support.actors import PASSWORD
from tests.support.client import Api, claims, unique
from tests.support.command import Command
from tests.support.deployment import Deployment, Server

ISSUER = "http://" + "i" * 248
CLIENT = "c" * 64


def names(count: int, characters: int, form: str = "{}") -> list[str]:
    """So many names that are together so long, with a space between each two."""
    room = characters - (count - 1)
    lengths = [room // count + (index < room % count) for index in range(count)]
    return [
        form.format(str(index).zfill(length - len(form.format(""))))
        for index, length in enumerate(lengths, start=1)
    ]


SCOPES = names(200, 2000)
RESOURCES = names(100, 1000, "urn:{}")
ROLES = names(100, 1000)


@pytest.fixture
def served(empty_database: str, server_urls: tuple[str, str], tmp_path: Path) -> Iterator[Server]:
    """A deployment with everything at its limit: an issuer as long as may be, and the largest usual key."""
    made = Deployment(empty_database, server_urls[1], tmp_path, ISSUER)
    made.keys_dir.mkdir()
    private = rsa.generate_private_key(public_exponent=65537, key_size=4096)
    key = Key.from_public_key(private.public_key(), "RS256")
    files.write_private(
        made.keys_dir, key.kid, private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    now = datetime.now(UTC).replace(microsecond=0)
    files.write_ring(made.keys_dir, [Entry(key, now, signs_from=now)])
    made.prepare()
    asyncio.run(register(made))
    with made.serving(workers=1) as server:
        yield server


async def register(made: Deployment) -> None:
    settings = made.settings
    passwords = Passwords(settings)
    password_hash = await passwords.hash(PASSWORD)
    passwords.close()
    async with opened(settings) as database, database.transaction() as db:
        for uri in RESOURCES:
            await registration.add_resource(
                db, uri=uri, scopes=SCOPES, client_id=demo.SERVICE.client_id, issuer=ISSUER
            )
        for role in ROLES:
            await registration.add_role(db, name=role, scopes=SCOPES)
        await registration.add_client(db, CLIENT_AT_THE_LIMIT, settings)
        await registration.add_user(
            db, username="u" * 64, email=None, password_hash=password_hash, roles=ROLES
        )


CLIENT_AT_THE_LIMIT = clients.NewClient(
    client_id=CLIENT,
    name=CLIENT,
    secret=None,
    grant_types=["password", "refresh_token"],
    first_party=True,
    scopes=SCOPES,
    default_scopes=SCOPES,
    resources=RESOURCES,
    default_resources=RESOURCES,
    introspect_any=False,
    refresh_grace=None,
)


def test_a_client_and_a_user_at_every_limit_get_tokens_that_are_accepted(served: Server) -> None:
    with httpx2.Client(base_url=served.url, timeout=20) as http:
        api = Api(http)
        first = api.sign_in("u" * 64, PASSWORD, client_id=CLIENT)
        assert len(ISSUER) == 255
        assert first.claims["aud"] == [ISSUER, *RESOURCES]
        assert set(first.claims["scope"].split(" ")) == {"account", *SCOPES}
        assert first.claims["roles"] == ROLES
        # Both epochs begin with one digit and have room for 19.
        assert len(first.access) + 2 * 18 * 4 / 3 < 8192, len(first.access)
        assert claims(first.refresh)["scope"] == first.claims["scope"]

        assert api.me(first.access).status_code == 200
        assert api.introspect(first.access)["active"]
        second = api.refresh(first.refresh)
        assert second.status_code == 200, second.text
        assert api.me(second.json()["access_token"]).status_code == 200
        api.revoke(second.json()["refresh_token"], CLIENT)
        assert not api.introspect(second.json()["access_token"])["active"]


WHY = "they are in its tokens, which must stay below 8,192 characters"


@pytest.mark.parametrize("option", ["--scope", "--resource"])
@pytest.mark.parametrize("extent", ["longer", "more"])
def test_a_client_beyond_a_limit_is_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, option: str, extent: str
) -> None:
    least, most = (200, 2000) if option == "--scope" else (100, 1000)
    too_much = names(least, most + 1, "u:{}") if extent == "longer" else names(least + 1, most, "u:{}")
    client_id = unique("client")

    command = Command(deployment, monkeypatch)
    said = command.refused("clients", "add", client_id, *(f"{option}={name}" for name in too_much))

    assert (
        f"The {option.removeprefix('--')}s of a client may be {least} at most, and {most:,} characters"
        in said
    )
    assert WHY in said
    assert client_id not in command("clients", "list").stdout


@pytest.mark.parametrize("too_much", [names(100, 1001), names(101, 1000)], ids=["longer", "more"])
def test_a_user_beyond_a_limit_is_refused(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch, too_much: list[str]
) -> None:
    command, name = Command(deployment, monkeypatch), unique("user")
    options = [f"--role={role}" for role in too_much]

    for refused in (
        command.refused("users", "add", name, "--no-password", *options),
        command.refused("users", "roles", "alice", *too_much),
    ):
        assert "The roles of a user may be 100 at most, and 1,000 characters" in refused
        assert WHY in refused
    assert name not in command("users", "list").stdout
