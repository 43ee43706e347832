"""What a client of the issuer does, in a line each."""

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Any

import httpx2

from service.cli import demo


@dataclass(frozen=True)
class Tokens:
    """A successful answer of the token endpoint."""

    access: str
    refresh: str
    body: dict[str, Any]

    @property
    def claims(self) -> dict[str, Any]:
        """The access token's claims, unverified."""
        return claims(self.access)

    @property
    def jti(self) -> str:
        """The refresh token's."""
        jti: str = claims(self.refresh)["jti"]
        return jti


def claims(token: str) -> dict[str, Any]:
    """The payload of a JWT, unverified."""
    payload = token.split(".")[1]
    decoded: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return decoded


def kid(token: str) -> str:
    """The key that a JWT's header names."""
    header = token.split(".", maxsplit=1)[0]
    found: str = json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]
    return found


def tokens(answer: httpx2.Response) -> Tokens:
    """Read a token answer; anything but a 200 fails the test with what was said."""
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return Tokens(body["access_token"], body.get("refresh_token", ""), body)


class Api:
    """The issuer over HTTP."""

    def __init__(self, http: httpx2.Client) -> None:
        self.http = http

    def sign_in(
        self, username: str = demo.ALICE.username, password: str = demo.PASSWORD, **more: str
    ) -> Tokens:
        form = {
            "grant_type": "password",
            "client_id": demo.APP.client_id,
            "username": username,
            "password": password,
        }
        return tokens(self.http.post("/token", data={**form, **more}))

    def refresh(self, refresh_token: str, **more: str) -> httpx2.Response:
        return self.http.post("/refresh", json={"refresh_token": refresh_token, **more})

    def revoke(self, token: str, client_id: str = demo.APP.client_id) -> None:
        answer = self.http.post("/revoke", data={"token": token, "client_id": client_id})
        assert answer.status_code == 200, answer.text

    def introspect(self, token: str) -> dict[str, Any]:
        answer = self.http.post("/introspect", data={"token": token}, auth=SERVICE_AUTH)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body

    def me(self, access_token: str) -> httpx2.Response:
        return self.http.get("/me", headers=bearer(access_token))

    def is_alive(self, access_token: str) -> bool:
        """Whether both /introspect and /me take the token; they must agree."""
        active = self.introspect(access_token)["active"]
        status = self.me(access_token).status_code
        assert (status == 200) == active, (status, active)
        return bool(active)


SERVICE_AUTH = (demo.SERVICE.client_id, demo.SERVICE.secret or "")


def bearer(access_token: str) -> dict[str, str]:
    """The header that carries an access token."""
    return {"Authorization": f"Bearer {access_token}"}


def unique(prefix: str) -> str:
    """A name that no other test uses."""
    return f"{prefix}-{secrets.token_hex(4)}"
