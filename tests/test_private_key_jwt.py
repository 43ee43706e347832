"""Clients that prove themselves by a key (RFC 7523): what counts, what never does, and that it counts once."""

import asyncio
import base64
import hmac
import json
import time
from collections.abc import Callable
from hashlib import sha256
from typing import Any, get_args

import httpx2
import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sealwright import Algorithm
from service.clients import assertions
from service.clients.store import new_secret
from tests.support.actors import PASSWORD, Actors, Program
from tests.support.assertions import ISSUER, Signer, jwks, proof
from tests.support.client import Api, tokens
from tests.support.database import fetch, held, sql, until_waiting
from tests.support.deployment import Deployment, Server
from tests.support.refusals import LogTail, assert_invalid_client, assert_oauth_error

SIGNERS = {alg: Signer(alg) for alg in get_args(Algorithm)}
OURS, OTHERS = SIGNERS["ES256"], Signer("ES256")


@pytest.fixture
def client(actors: Actors) -> Program:
    return actors.client(jwks=jwks(*SIGNERS.values()))


def ask(http: httpx2.Client, assertion: str, path: str = "/token", **more: str) -> httpx2.Response:
    """A request that succeeds if the assertion counts."""
    form = {"grant_type": "client_credentials", "token": "x", **proof(assertion), **more}
    return http.post(path, data=form)


@pytest.mark.parametrize("alg", get_args(Algorithm))
def test_a_client_proves_itself_by_any_of_its_keys(http: httpx2.Client, client: Program, alg: str) -> None:
    answer = ask(http, SIGNERS[alg].assertion(client.id))

    assert tokens(answer).claims["client_id"] == client.id


@pytest.mark.parametrize("path", ["/token", "/introspect", "/revoke"])
def test_it_does_so_at_every_endpoint(http: httpx2.Client, client: Program, path: str) -> None:
    assert ask(http, OURS.assertion(client.id), path).status_code == 200


def test_a_session_begins_and_goes_on_with_an_assertion_for_each_request(
    api: Api, client: Program, actors: Actors
) -> None:
    session = api.sign_in(
        actors.user().username, PASSWORD, client_id=client.id, **proof(OURS.assertion(client.id))
    )
    refreshed = api.refresh(session.refresh, **proof(OURS.assertion(client.id)))

    assert tokens(refreshed).claims["sid"] == session.claims["sid"]
    assert_invalid_client(api.refresh(session.refresh, client_id=client.id))


@pytest.mark.parametrize(
    "differing",
    [
        {"aud": [ISSUER]},
        {"header": {"typ": "client-authentication+jwt"}},
        {"header": {"typ": None}},
        {"iat": None},
        {"nbf": 1},
    ],
    ids=str,
)
def test_what_a_client_may_leave_open(
    http: httpx2.Client, client: Program, differing: dict[str, Any]
) -> None:
    assert ask(http, OURS.assertion(client.id, **differing)).status_code == 200


def in_seconds(**claims: int) -> Callable[[], dict[str, Any]]:
    return lambda: {name: int(time.time()) + offset for name, offset in claims.items()}


@pytest.mark.parametrize(
    "differing",
    [
        {"aud": f"{ISSUER}/token"},
        {"aud": f"{ISSUER}/"},
        {"aud": [ISSUER, f"{ISSUER}/token"]},
        {"aud": [ISSUER, "https://other.example.com"]},
        {"aud": []},
        {"aud": "https://other.example.com"},
        {"aud": None},
        {"iss": "demo-service"},
        {"iss": None},
        {"sub": None},
        {"sub": "demo-service"},
        {"jti": None},
        {"jti": ""},
        {"jti": 7},
        {"jti": "x" * 257},
        {"exp": None},
        {"exp": "soon"},
        {"exp": True},
        {"exp": 10**400},
        in_seconds(exp=-31, iat=-60),
        in_seconds(exp=400),
        in_seconds(exp=3600),
        in_seconds(nbf=120),
        in_seconds(iat=120),
        {"header": {"typ": "at+jwt"}},
        {"header": {"typ": "oauth-authz-req+jwt"}},
        {"header": {"typ": "dpop+jwt"}},
        {"header": {"kid": None}},
        {"header": {"kid": "another"}},
        {"header": {"jku": "https://attacker.example.com/keys"}},
        {"header": {"crit": ["exp"]}},
    ],
    ids=lambda value: value.__name__ if callable(value) else str(value)[:60],
)
def test_an_assertion_of_which_one_thing_is_wrong_counts_for_nothing(
    http: httpx2.Client, client: Program, differing: dict[str, Any] | Callable[[], dict[str, Any]]
) -> None:
    changed = differing() if callable(differing) else differing

    assert_invalid_client(ask(http, OURS.assertion(client.id, **changed), client_id=client.id))


def forged(header: dict[str, Any], client_id: str, sign: Callable[[bytes], bytes]) -> str:
    def encoded(data: bytes) -> str:
        return base64.urlsafe_b64encode(data).rstrip(b"=").decode()

    now = int(time.time())
    claims = {"iss": client_id, "sub": client_id, "aud": ISSUER, "exp": now + 60, "jti": str(now)}
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims).encode())}"
    return f"{signed}.{encoded(sign(signed.encode()))}"


def test_a_public_key_is_no_shared_secret_and_no_signature_is_none(
    http: httpx2.Client, client: Program
) -> None:
    rsa = SIGNERS["RS256"]
    kid = rsa.key.kid
    pem = rsa.key.public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    for attempt in (
        forged({"alg": "HS256", "kid": kid}, client.id, lambda text: hmac.digest(pem, text, "sha256")),
        forged({"alg": "none", "kid": kid}, client.id, lambda _: b""),
        forged({"alg": "RS256", "kid": kid}, client.id, lambda _: b""),
        # Another algorithm than the one that the key is for, though the key could do it.
        Signer.assertion(_relabelled(rsa, "PS256"), client.id, {"kid": kid}),
    ):
        assert_invalid_client(ask(http, attempt))


def _relabelled(signer: Signer, alg: Algorithm) -> Signer:
    other = Signer(alg)
    other.__dict__["private_key"] = signer.private_key
    return other


def test_a_key_proves_its_own_client_alone(http: httpx2.Client, client: Program, actors: Actors) -> None:
    other = actors.client(jwks=jwks(OTHERS))

    assert_invalid_client(ask(http, OTHERS.assertion(client.id)))
    assert_invalid_client(ask(http, OTHERS.assertion(client.id, {"kid": OURS.key.kid})))
    assert_invalid_client(ask(http, OTHERS.assertion(other.id), client_id=client.id))
    assert ask(http, OTHERS.assertion(other.id)).status_code == 200


def test_a_client_with_keys_is_neither_public_nor_has_it_a_secret(
    deployment: Deployment, http: httpx2.Client, client: Program
) -> None:
    form = {"grant_type": "client_credentials", "client_id": client.id}

    assert_invalid_client(http.post("/token", data=form))
    for secret in (new_secret(), "", "\0" * 32):
        assert_invalid_client(http.post("/token", auth=(client.id, secret), data=form))
    # The release before reads this column alone, and takes null for a public client.
    [row] = sql(deployment.database_url, "SELECT secret_sha256 FROM clients WHERE id = $1", client.id)
    assert row["secret_sha256"] == bytes(32)


def test_a_client_without_keys_and_an_unknown_one_prove_nothing_by_an_assertion(
    http: httpx2.Client, actors: Actors
) -> None:
    with_secret, public = actors.client(), actors.client(confidential=False)

    for client_id in (with_secret.id, public.id, "nobody"):
        assert_invalid_client(ask(http, OURS.assertion(client_id)))


def test_two_ways_at_once_are_refused(http: httpx2.Client, client: Program) -> None:
    good = OURS.assertion(client.id)
    form = {"grant_type": "client_credentials", **proof(good)}

    assert_oauth_error(http.post("/token", data=form, auth=(client.id, "secret")))
    assert_oauth_error(http.post("/token", data={**form, "client_secret": "secret"}))
    assert_oauth_error(http.post("/token", data={**form, "client_assertion_type": "urn:other"}))
    assert_oauth_error(http.post("/token", data={**form, "client_assertion_type": ""}))
    assert_oauth_error(http.post("/token", data={**form, "client_assertion": ""}))
    assert ask(http, good).status_code == 200


@pytest.mark.parametrize("nonsense", ["x", "a.b.c", "e30.e30.e30", "." * 5, "é", "x" * 9000])
def test_what_is_no_jwt_is_refused_quietly(http: httpx2.Client, server: Server, nonsense: str) -> None:
    tail = LogTail(server.log)

    assert_invalid_client(ask(http, nonsense))
    tail.assert_clean()


def test_an_assertion_counts_once(http: httpx2.Client, client: Program, server: Server) -> None:
    tail = LogTail(server.log)
    assertion = OURS.assertion(client.id)

    first, second = ask(http, assertion), ask(http, assertion, "/introspect")

    assert first.status_code == 200
    assert_invalid_client(second)
    assert "jti was used before" in tail.text
    tail.assert_clean(assertion)


def test_the_same_jti_of_another_client_is_another(
    http: httpx2.Client, client: Program, actors: Actors
) -> None:
    other = actors.client(jwks=jwks(OTHERS))

    assert ask(http, OURS.assertion(client.id, jti="1")).status_code == 200
    assert ask(http, OTHERS.assertion(other.id, jti="1")).status_code == 200
    assert_invalid_client(ask(http, OURS.assertion(client.id, jti="1")))


def test_a_refused_assertion_uses_nothing_up(http: httpx2.Client, client: Program) -> None:
    assert_invalid_client(ask(http, OURS.assertion(client.id, jti="once", aud="https://other.example.com")))

    assert ask(http, OURS.assertion(client.id, jti="once")).status_code == 200


@pytest.mark.anyio
async def test_of_any_number_of_copies_at_one_moment_one_counts(
    deployment: Deployment, server: Server, client: Program
) -> None:
    assertion = OURS.assertion(client.id, jti="raced")
    digest = sha256(f"{client.id}\0raced".encode()).digest()
    url = deployment.database_url

    async with httpx2.AsyncClient(base_url=server.url, timeout=30) as http:
        # Another replica is just using it up; it fails, so that one of the copies may count.
        await fetch(url, "INSERT INTO used_assertions VALUES ($1, now())", digest)
        async with held(url, "DELETE FROM used_assertions WHERE digest = $1 RETURNING 1", digest) as release:
            asked = [
                asyncio.ensure_future(
                    http.post("/token", data={"grant_type": "client_credentials", **proof(assertion)})
                )
                for _ in range(12)
            ]
            await until_waiting(url, 2)
            await release()
            blocked = await asyncio.gather(*asked)
        assert {answer.status_code for answer in blocked} == {401}

        await fetch(url, "DELETE FROM used_assertions WHERE digest = $1", digest)
        copies = [
            http.post("/token", data={"grant_type": "client_credentials", **proof(assertion)})
            for _ in range(12)
        ]
        answers = await asyncio.gather(*copies)

    assert sorted(answer.status_code for answer in answers) == [200] + [401] * 11


@pytest.mark.anyio
async def test_used_assertions_leave_when_no_replica_takes_them_any_more(deployment: Deployment) -> None:
    url = deployment.database_url
    over, live = sha256(b"over").digest(), sha256(b"live").digest()
    insert = "INSERT INTO used_assertions VALUES ($1, now() + $2::text::interval)"
    await fetch(url, insert, over, "-1 second")
    await fetch(url, insert, live, "1 minute")

    async with deployment.operator() as (database, _), database.connect() as db:
        await assertions.delete_over(db, 500)

    left = await fetch(url, "SELECT digest FROM used_assertions WHERE digest = ANY($1)", [over, live])
    assert [row["digest"] for row in left] == [live]


def test_the_metadata_tells_of_it(http: httpx2.Client) -> None:
    told = http.get("/.well-known/oauth-authorization-server").json()

    for endpoint in ("token", "revocation", "introspection"):
        assert "private_key_jwt" in told[f"{endpoint}_endpoint_auth_methods_supported"]
        assert told[f"{endpoint}_endpoint_auth_signing_alg_values_supported"] == list(get_args(Algorithm))
