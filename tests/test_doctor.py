"""`sealwright doctor`: says what is wrong and what to do, whatever is missing, and never falls over it."""

import http.server
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import redis
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from service import embedded
from service.cli.doctor import issuer, postgres
from service.embedded import ports
from tests.support.command import Command
from tests.support.deployment import Deployment, Server

NOWHERE = "127.0.0.1:1"


@pytest.fixture(scope="module")
def reached(deployment: Deployment) -> Iterator[tuple[Deployment, Server]]:
    """A deployment whose issuer is where it says."""
    port = ports.choose()
    made = deployment.having(issuer=f"http://127.0.0.1:{port}", password_memory_kib="19456")
    with made.serving(workers=1, port=port) as server:
        yield made, server


def looked(command: Command, *arguments: str, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """What was found, by the name of the check."""
    document = command.json("doctor", *arguments, code=code)
    assert document["well"] == (code == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for check in document["checks"]:
        assert (check["do"] is None) == (check["state"] == "ok"), check
        found.setdefault(check["name"], []).append(check)
    return found


def test_a_deployment_that_is_well_is_told_so(command: Command, reached: tuple[Deployment, Server]) -> None:
    deployment, server = reached
    command.of(deployment)

    found = looked(command, "--url", server.url)
    shown = command("doctor").stdout

    states = {name: [check["state"] for check in checks] for name, checks in found.items()}
    for name in ("clock", "schema", "connections", "redis", "eviction", "blocklist", "keys"):
        assert states[name] == ["ok"], found[name]
    assert states["issuer"] == states["inside"] == ["ok"] * 3
    assert states["settings"] == ["warn"]  # development
    assert "fail" not in shown
    assert f"announces {server.url}" in shown


def test_each_part_that_is_down_spoils_its_own_checks_alone(command: Command, deployment: Deployment) -> None:
    command.of(
        deployment.having(
            database_url=f"postgresql://u:hidden-password@{NOWHERE}/x",
            redis_url=f"redis://:hidden-password@{NOWHERE}/0",
            issuer=f"http://{NOWHERE}",
        )
    )
    said = command("doctor", code=1)
    found = looked(command, code=1)

    assert [found[name][0]["state"] for name in ("postgres", "redis", "issuer", "keys")] == ["fail"] * 3 + [
        "ok"
    ]
    assert "correct host and port in SEALWRIGHT_DATABASE_URL" in found["postgres"][0]["do"]
    assert "hidden-password" not in said.output
    assert "Traceback" not in said.output


def test_without_a_setting_every_variable_that_is_missing_is_named(command: Command, tmp_path: Path) -> None:
    command.without_settings(tmp_path)

    found = looked(command, code=1)

    assert len(found["settings"]) == 3
    assert "SEALWRIGHT_DATABASE_URL is not set" in found["postgres"][0]["says"]
    assert found["keys"][0]["do"].startswith("Run: sealwright keys generate")


def test_a_schema_that_is_too_old_is_told_with_what_to_run(
    command: Command, deployment: Deployment, empty_database: str
) -> None:
    command.of(replace(deployment, database_url=empty_database))

    [schema] = looked(command, code=1)["schema"]

    assert (schema["says"], schema["do"]) == ("the database is empty", "Run: sealwright migrate")


def test_an_issuer_that_announces_another_name_is_told_letter_for_letter(
    command: Command, reached: tuple[Deployment, Server]
) -> None:
    deployment, server = reached
    other = server.url.replace("127.0.0.1", "localhost")
    command.of(deployment.having(issuer=other))

    first = looked(command, code=1)["issuer"][0]

    assert f"announces '{server.url}'" in first["says"]
    assert f"is '{other}'" in first["says"]


def test_a_jwks_that_is_not_the_rings_is_told(
    command: Command, reached: tuple[Deployment, Server], tmp_path: Path
) -> None:
    deployment, _ = reached
    command.of(deployment.having(keys_dir=str(tmp_path)))
    command("keys", "generate")

    last = looked(command, code=1)["issuer"][-1]

    assert "1 keys too many, 1 missing" in last["says"]


def test_inside_a_container_localhost_is_explained(
    command: Command, deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    command.of(deployment.having(issuer=f"http://{NOWHERE}"))
    monkeypatch.setattr(issuer, "in_container", lambda: True)

    [told] = looked(command, code=1)["issuer"]

    assert "127.0.0.1 is the container itself" in told["says"]
    assert "sealwright doctor --url http://NAME:8000" in told["do"]


def test_something_else_at_the_issuers_address_is_told(command: Command, deployment: Deployment) -> None:
    with answering(None) as port:
        command.of(deployment.having(issuer=f"http://127.0.0.1:{port}"))
        [told] = looked(command, code=1)["issuer"]

    assert "answers, but not as Sealwright does (status 404)" in told["says"]


def test_a_certificate_that_is_not_trusted_is_named(
    command: Command, deployment: Deployment, tmp_path: Path
) -> None:
    with answering(self_signed(tmp_path)) as port:
        command.of(deployment.having(issuer=f"https://localhost:{port}"))
        [told] = looked(command, code=1)["issuer"]

    assert "not trusted here: self-signed certificate" in told["says"]
    assert "whole chain" in told["do"]


def test_a_server_without_tls_is_named(command: Command, deployment: Deployment) -> None:
    with answering(None) as port:
        command.of(deployment.having(issuer=f"https://localhost:{port}"))
        [told] = looked(command, code=1)["issuer"]

    assert "does not speak TLS" in told["says"]


def test_a_redis_that_evicts_and_a_blocklist_ahead_of_the_record_are_told(
    command: Command, deployment: Deployment, tmp_path: Path
) -> None:
    with embedded.start(tmp_path / "servers", fsync=False) as servers:
        own = replace(deployment, database_url=servers.database_url, redis_url=servers.redis_url)
        command.of(own)
        command("migrate")
        with redis.Redis.from_url(own.redis_url, decode_responses=True) as client:
            client.config_set("maxmemory-policy", "allkeys-lru")
            assert looked(command, code=1)["blocklist"][0]["says"] == "empty"
            command("users", "add", "bob", "--no-password")
            command("users", "disable", "bob")
            [marker] = client.keys("*:marker")
            client.set(marker, 7)
        found = looked(command, code=1)

    assert "CONFIG SET maxmemory-policy noeviction" in found["eviction"][0]["do"]
    assert found["blocklist"][0]["do"] == "Run: sealwright restored"


def test_clocks_are_judged_by_how_far_they_are_apart() -> None:
    assert [postgres.clock(offset).state for offset in (0.4, -1.5, 20, -31)] == ["ok", "warn", "warn", "fail"]


class _NotFound(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:  # its base class's name
        self.send_error(404)

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def answering(tls: ssl.SSLContext | None) -> Iterator[int]:
    """A server that is not Sealwright."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _NotFound) as server:
        if tls is not None:
            server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def self_signed(directory: Path) -> ssl.SSLContext:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file = directory / "server.pem"
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context
