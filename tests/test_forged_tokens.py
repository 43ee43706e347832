"""Tokens that nobody may believe, shown wherever a token can be shown."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, cast
from uuid import uuid4

import pytest
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from sealwright import KeySet
from service import signing
from service.cli import demo
from service.signing import TokenType
from tests.support import ring
from tests.support.actors import PASSWORD, Actors, Person
from tests.support.client import SERVICE_AUTH, Api, Tokens, bearer, claims, tokens
from tests.support.database import sql
from tests.support.deployment import Deployment, Server
from tests.support.refusals import LogTail, assert_bearer_error, assert_no_echo, assert_oauth_error

Payload = dict[str, Any]


class Forge:
    """Makes tokens with the deployment's own key where a right signature is what the attacker lacks."""

    def __init__(self, deployment: Deployment) -> None:
        self.session = Tokens("", "", {})
        self._now = time.time()
        settings = deployment.settings
        self._ring = ring.load(
            settings.keys_dir, signing.Policy.of(settings), datetime.fromtimestamp(self._now, UTC)
        )
        self.kid = self._ring.active_kid(self._now)
        self.jwks = self._ring.jwks
        pem = (deployment.keys_dir / f"{self.kid}.pem").read_bytes()
        self._private = cast("RSAPrivateKey", load_pem_private_key(pem, None))

    @property
    def payload(self) -> Payload:
        """The claims of a live access token, but for its jti."""
        return self.session.claims | {"jti": str(uuid4())}

    @property
    def refresh_payload(self) -> Payload:
        """The claims of the live refresh token."""
        return claims(self.session.refresh)

    def genuine(self, payload: Payload, typ: TokenType = "at+jwt") -> str:
        """Sign with the real key; the header is the real one too."""
        return self._ring.sign(typ, json.dumps(payload).encode(), self._now)

    def with_header(self, payload: Payload, **header: object) -> str:
        """Sign with the real key under another header; what is None is left out."""
        members = {"alg": "RS256", "typ": "at+jwt", "kid": self.kid, **header}
        chosen = {name: value for name, value in members.items() if value is not None}
        signed = f"{encoded(chosen)}.{encoded(payload)}".encode()
        signature = self._private.sign(signed, PKCS1v15(), SHA256())
        return f"{signed.decode()}.{base64url(signature)}"

    def hs256(self, payload: Payload, secret: bytes) -> str:
        """Sign with a public key as the secret of an HMAC (RFC 8725 2.1)."""
        header = {"alg": "HS256", "typ": "at+jwt", "kid": self.kid}
        signed = f"{encoded(header)}.{encoded(payload)}"
        return f"{signed}.{base64url(hmac.digest(secret, signed.encode(), hashlib.sha256))}"

    @property
    def public_pem(self) -> bytes:
        key = KeySet.from_jwks(self.jwks)[self.kid].public_key
        return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def encoded(value: object) -> str:
    return base64url(json.dumps(value, separators=(",", ":")).encode())


def without(payload: Payload, name: str) -> Payload:
    return {k: v for k, v in payload.items() if k != name}


def unsigned(f: Forge, alg: str, signature: str) -> str:
    return f"{encoded({'alg': alg, 'typ': 'at+jwt', 'kid': f.kid})}.{encoded(f.payload)}.{signature}"


def altered(f: Forge) -> str:
    header, _, signature = f.session.access.split(".")
    return f"{header}.{encoded(f.payload | {'roles': ['admin']})}.{signature}"


NOW = int(time.time())
JWK = {"kty": "oct", "k": "AAAA"}

ACCESS: dict[str, Callable[[Forge], str]] = {
    "alg none": lambda f: unsigned(f, "none", ""),
    "alg None": lambda f: unsigned(f, "None", ""),
    "alg none with a signature": lambda f: unsigned(f, "none", f.session.access.rpartition(".")[2]),
    "no signature": lambda f: f.session.access.rpartition(".")[0] + ".",
    "two segments": lambda f: f.session.access.rpartition(".")[0],
    "four segments": lambda f: f.session.access + ".e30",
    "altered claims": altered,
    "a signature that is padded": lambda f: f.session.access + "=",
    "HS256 under the public PEM": lambda f: f.hs256(f.payload, f.public_pem),
    "HS256 under the public PEM without its line end": lambda f: f.hs256(f.payload, f.public_pem.strip()),
    "HS256 under the JWKS": lambda f: f.hs256(f.payload, f.jwks),
    "HS256 under the JWK": lambda f: f.hs256(f.payload, json.dumps(json.loads(f.jwks)["keys"][0]).encode()),
    "HS256 under nothing": lambda f: f.hs256(f.payload, b""),
    "another algorithm of the same key": lambda f: f.with_header(f.payload, alg="PS256"),
    "a refresh token": lambda f: f.session.refresh,
    "a refresh token's typ": lambda f: f.genuine(f.payload, "rt+jwt"),
    "typ JWT": lambda f: f.with_header(f.payload, typ="JWT"),
    "no typ": lambda f: f.with_header(f.payload, typ=None),
    "another issuer": lambda f: f.genuine(f.payload | {"iss": "https://evil.example"}),
    "the issuer with a slash": lambda f: f.genuine(f.payload | {"iss": f.payload["iss"] + "/"}),
    "no issuer": lambda f: f.genuine(without(f.payload, "iss")),
    "no kid": lambda f: f.with_header(f.payload, kid=None),
    "an unknown kid": lambda f: f.with_header(f.payload, kid="x" * 43),
    "a kid that is a path": lambda f: f.with_header(f.payload, kid="../../../../etc/passwd"),
    "a kid that is a URL": lambda f: f.with_header(f.payload, kid="https://evil.example/key"),
    "a kid that is SQL": lambda f: f.with_header(f.payload, kid="' OR 1=1 --"),
    "a kid that is a number": lambda f: f.with_header(f.payload, kid=0),
    "jku": lambda f: f.with_header(f.payload, jku="https://evil.example/jwks.json"),
    "x5u": lambda f: f.with_header(f.payload, x5u="https://evil.example/cert.pem"),
    "x5c": lambda f: f.with_header(f.payload, x5c=["AAAA"]),
    "jwk": lambda f: f.with_header(f.payload, jwk=JWK),
    "crit": lambda f: f.with_header(f.payload, crit=["exp"]),
    "b64": lambda f: f.with_header(f.payload, b64=False),
    "expired": lambda f: f.genuine(f.payload | {"exp": NOW - 60}),
    "expired as a float": lambda f: f.genuine(f.payload | {"exp": NOW - 60.5}),
    "no end": lambda f: f.genuine(without(f.payload, "exp")),
    "an end that is text": lambda f: f.genuine(f.payload | {"exp": str(NOW + 600)}),
    "an endless end": lambda f: f.genuine(f.payload | {"exp": 10**400}),
    "not yet valid": lambda f: f.genuine(f.payload | {"nbf": NOW + 3600}),
    "issued tomorrow": lambda f: f.genuine(f.payload | {"iat": NOW + 86400}),
    "no jti": lambda f: f.genuine(without(f.payload, "jti")),
    "an empty jti": lambda f: f.genuine(f.payload | {"jti": ""}),
    "a jti with a NUL": lambda f: f.genuine(f.payload | {"jti": "a\0"}),
    "no sub": lambda f: f.genuine(without(f.payload, "sub")),
    "no client_id": lambda f: f.genuine(without(f.payload, "client_id")),
    "no aud": lambda f: f.genuine(without(f.payload, "aud")),
    "an epoch that is text": lambda f: f.genuine(f.payload | {"uep": "99"}),
    "enormous": lambda f: f.genuine(f.payload | {"pad": "x" * 40_000}),
    "junk": lambda _: "junk",
    "dots": lambda _: "...",
    "emptiness": lambda _: "e30.e30.",
    "beyond ASCII": lambda _: "é.é.é",
}
"""What is no access token, for anybody."""

REFRESH: dict[str, Callable[[Forge], str]] = {
    "an access token": lambda f: f.session.access,
    "an access token's typ": lambda f: f.genuine(f.refresh_payload),
    "alg none": lambda f: f"{encoded({'alg': 'none', 'typ': 'rt+jwt'})}.{encoded(f.refresh_payload)}.",
    "HS256": lambda f: f.hs256(f.refresh_payload, f.public_pem),
    "another issuer": lambda f: f.genuine(f.refresh_payload | {"iss": "https://evil.example"}, "rt+jwt"),
    "another audience": lambda f: f.genuine(f.refresh_payload | {"aud": demo.RESOURCE}, "rt+jwt"),
    "another client": lambda f: f.genuine(f.refresh_payload | {"client_id": "demo-service"}, "rt+jwt"),
    "a client that is not there": lambda f: f.genuine(f.refresh_payload | {"client_id": "nobody"}, "rt+jwt"),
    "expired": lambda f: f.genuine(f.refresh_payload | {"exp": NOW - 7200}, "rt+jwt"),
    "not yet valid": lambda f: f.genuine(f.refresh_payload | {"nbf": NOW + 7200}, "rt+jwt"),
    "no jti": lambda f: f.genuine(without(f.refresh_payload, "jti"), "rt+jwt"),
    "a jti that is no UUID": lambda f: f.genuine(f.refresh_payload | {"jti": "1"}, "rt+jwt"),
    "no sid": lambda f: f.genuine(without(f.refresh_payload, "sid"), "rt+jwt"),
    "a sid that is no UUID": lambda f: f.genuine(f.refresh_payload | {"sid": "../x"}, "rt+jwt"),
    "a session that is not there": lambda f: f.genuine(f.refresh_payload | {"sid": str(uuid4())}, "rt+jwt"),
    "an unknown kid": lambda f: f.with_header(f.refresh_payload, typ="rt+jwt", kid="../../etc/passwd"),
    "jku": lambda f: f.with_header(f.refresh_payload, typ="rt+jwt", jku="https://evil.example"),
    "enormous": lambda f: f.genuine(f.refresh_payload | {"pad": "x" * 40_000}, "rt+jwt"),
    "junk": lambda _: "junk",
}


@pytest.fixture(scope="module")
def forges(deployment: Deployment, server: Server) -> tuple[Forge, Person]:  # noqa: ARG001  # must be running
    return Forge(deployment), Actors(deployment).user()


@pytest.fixture
def forge(forges: tuple[Forge, Person], api: Api) -> Forge:
    """The forge, with a session that no other test has."""
    forge, user = forges
    forge.session = api.sign_in(user.username, PASSWORD)
    return forge


@pytest.fixture(autouse=True)
def nothing_leaks(server: Server) -> Iterator[None]:
    tail = LogTail(server.log)
    yield
    tail.assert_clean()


def test_the_forge_itself_makes_good_tokens(api: Api, forge: Forge) -> None:
    assert api.me(forge.genuine(forge.payload)).status_code == 200
    assert api.me(forge.with_header(forge.payload)).status_code == 200
    assert api.refresh(forge.genuine(forge.refresh_payload, "rt+jwt")).status_code == 200


@pytest.mark.parametrize("case", ACCESS)
def test_no_account_opens_to(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.http.get("/me", headers=[(b"Authorization", f"Bearer {token}".encode())])

    assert_bearer_error(answer)
    assert_no_echo(answer, token)


@pytest.mark.parametrize("case", [case for case in ACCESS if case != "a refresh token"])
def test_introspection_calls_inactive(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.http.post(
        "/introspect", data={"token": token, "token_type_hint": "access_token"}, auth=SERVICE_AUTH
    )

    assert answer.status_code == 200
    assert answer.json() == {"active": False}


@pytest.mark.parametrize("case", [case for case in ACCESS if case != "a refresh token"])
def test_nothing_is_refreshed_with(api: Api, forge: Forge, case: str) -> None:
    token = ACCESS[case](forge)

    answer = api.refresh(token)

    assert_oauth_error(answer, "invalid_grant")
    assert_no_echo(answer, token)


@pytest.mark.parametrize("case", [case for case in ACCESS if not case.startswith("a refresh token")])
def test_revoking_is_a_success_that_does_nothing_with(api: Api, forge: Forge, case: str) -> None:
    answer = api.http.post("/revoke", data={"token": ACCESS[case](forge), "client_id": "demo-app"})

    assert (answer.status_code, answer.content) == (200, b"")
    assert api.me(forge.session.access).status_code == 200


@pytest.mark.parametrize("case", REFRESH)
@pytest.mark.parametrize("client", [{}, {"client_id": "demo-app"}])
def test_no_session_goes_on_with(api: Api, forge: Forge, case: str, client: dict[str, str]) -> None:
    token = REFRESH[case](forge)

    answer = api.refresh(token, **client)

    if case in {"another client", "a client that is not there"} and not client:
        assert_oauth_error(answer, "invalid_client", 401)
    else:
        assert_oauth_error(answer, "invalid_grant")
    assert_no_echo(answer, token)
    # And the session is not taken for stolen.
    assert tokens(api.refresh(forge.session.refresh)).jti != forge.session.jti


# An access token of the issuer is one whatever its claims were meant for: only the issuer's key writes one.
@pytest.mark.parametrize("case", [case for case in REFRESH if not case.startswith("an access token")])
def test_revoking_and_introspection_make_nothing_of(api: Api, forge: Forge, case: str) -> None:
    token = REFRESH[case](forge)

    seen = api.http.post("/introspect", data={"token": token}, auth=SERVICE_AUTH)
    revoked = api.http.post("/revoke", data={"token": token, "client_id": "demo-app"})

    assert seen.json() == {"active": False}
    if case == "another client":
        assert_oauth_error(revoked, "invalid_grant")
    elif case != "a client that is not there":
        assert revoked.status_code == 200
    assert api.me(forge.session.access).status_code == 200
    assert api.refresh(forge.session.refresh).status_code == 200


@pytest.mark.parametrize("aud", [demo.RESOURCE, "https://evil.example", ["a", "b"], "http://localhost:8000/"])
def test_a_token_for_other_audiences_opens_no_account(api: Api, forge: Forge, aud: object) -> None:
    answer = api.me(forge.genuine(forge.payload | {"aud": aud}))

    assert_bearer_error(answer)


def test_a_token_for_a_resource_alone_opens_no_account(api: Api) -> None:
    session = api.sign_in(resource=demo.RESOURCE, scope="orders:read")

    assert session.claims["aud"] == demo.RESOURCE
    for method, path in (("GET", "/me"), ("GET", "/sessions"), ("POST", "/logout"), ("POST", "/logout/all")):
        assert_bearer_error(api.http.request(method, path, headers=bearer(session.access)))
    assert api.introspect(session.access)["active"]


def test_a_token_without_the_scope_account_opens_no_account(api: Api) -> None:
    session = api.sign_in(scope="orders:read")

    answer = api.me(session.access)

    assert_bearer_error(answer, "insufficient_scope", 403)
    assert 'scope="account"' in answer.headers["www-authenticate"]


def test_a_clients_own_token_opens_no_account(api: Api, forge: Forge) -> None:
    own = api.http.post("/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH)

    assert_bearer_error(api.me(own.json()["access_token"]), "insufficient_scope", 403)
    # Even if it had the scope: there is no user behind it.
    nobody = without(without(forge.payload, "sid"), "uep") | {"sub": "demo-service"}
    assert_bearer_error(api.me(forge.genuine(nobody)))


def test_a_token_of_a_user_who_is_gone_opens_no_account(api: Api, forge: Forge) -> None:
    assert_bearer_error(api.me(forge.genuine(forge.payload | {"sub": str(uuid4())})))


def test_an_access_token_that_a_verifier_may_still_accept_is_revoked_for_it(
    api: Api, forge: Forge, deployment: Deployment
) -> None:
    payload = forge.payload | {"exp": int(time.time()) - 30}

    api.revoke(forge.genuine(payload))

    found = sql(deployment.database_url, "SELECT kind FROM revocations WHERE subject = $1", payload["jti"])
    assert [row["kind"] for row in found] == ["jti"]


def test_a_refresh_token_that_is_over_still_revokes_the_access_tokens_of_its_session(
    api: Api, forge: Forge
) -> None:
    api.revoke(forge.genuine(forge.refresh_payload | {"exp": int(time.time()) - 600}, "rt+jwt"))

    assert not api.is_alive(forge.session.access)
