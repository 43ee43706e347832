"""Asking the service, with each question and its answer written into the history."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import httpx2

from service.cli import demo
from tests.faults.answers import flaw
from tests.faults.history import Call, History, Operation, Outcome, Token
from tests.support.actors import PASSWORD
from tests.support.client import SERVICE_AUTH, bearer, claims


@dataclass(frozen=True, slots=True, repr=False)
class Held:
    """A token that a client holds."""

    raw: str
    token: Token

    @classmethod
    def read(cls, kind: Any, raw: str) -> "Held":
        """Read what it says."""
        said = claims(raw)
        return cls(raw, Token(kind, said["jti"], said["sid"], said["sub"]))


@dataclass(frozen=True, slots=True, repr=False)
class Answered:
    """What became of a question, and the tokens that came."""

    call: Call
    access: Held | None = None
    refresh: Held | None = None
    retry_after: float = 0.0


Read = Callable[[httpx2.Response], tuple[Outcome, str]]


class Caller:
    """Somebody who asks. Each question under way has a connection of its own; who stops waiting hangs up."""

    def __init__(self, who: str, http: httpx2.AsyncClient, history: History) -> None:
        self.who = who
        self._http = http
        self._history = history

    async def sign_in(self, username: str, sub: str, *, patience: float) -> Answered:
        """Sign a user in."""
        form = {
            "grant_type": "password",
            "client_id": demo.APP.client_id,
            "username": username,
            "password": PASSWORD,
        }
        return await self._post("sign in", "/token", _granted, patience, sub=sub, data=form)

    async def refresh(self, held: Held, *, patience: float) -> Answered:
        """Exchange a refresh token."""
        body = {"refresh_token": held.raw}
        return await self._post("refresh", "/refresh", _granted, patience, held=held, json=body)

    async def revoke(self, held: Held, *, patience: float) -> Answered:
        """Take a token back; a refresh token with its session."""
        form = {"token": held.raw, "client_id": demo.APP.client_id}
        return await self._post("revoke", "/revoke", _done, patience, held=held, data=form)

    async def sign_out_everywhere(self, held: Held, *, patience: float) -> Answered:
        """End all of a user's sessions, by an access token of one."""
        return await self._post(
            "sign out everywhere", "/logout/all", _done, patience, held=held, headers=bearer(held.raw)
        )

    async def introspect(self, held: Held, *, patience: float) -> Answered:
        """Ask whether an access token is good."""
        form = {"token": held.raw}
        return await self._post(
            "introspect", "/introspect", _active, patience, held=held, data=form, auth=SERVICE_AUTH
        )

    async def me(self, held: Held, *, patience: float) -> Answered:
        """Use an access token."""
        return await self._post(
            "me", "/me", _accepted, patience, held=held, method="GET", headers=bearer(held.raw)
        )

    async def _post(
        self,
        what: Operation,
        path: str,
        read: Read,
        patience: float,
        *,
        sub: str | None = None,
        held: Held | None = None,
        method: str = "POST",
        **request: Any,
    ) -> Answered:
        began = self._history.now()
        token = held.token if held else None
        outcome: Outcome = "silent"
        said, wrong, retry_after = "given up", None, 0.0
        access = refresh = None
        try:
            async with asyncio.timeout(patience):
                answer = await self._http.request(method, path, **request)
            wrong = flaw(path, answer.status_code, answer.headers, answer.content)
            outcome, said = read(answer)
            if held and not _is_about(held.token, answer):
                outcome, said = "failed", "an answer about another token"
            retry_after = _seconds(answer.headers.get("retry-after"))
            if outcome == "issued":
                body = answer.json()
                access = Held.read("access", body["access_token"])
                refresh = Held.read("refresh", body["refresh_token"])
        except TimeoutError:
            said = "no answer in time"
        except httpx2.TransportError as error:
            said = type(error).__name__
        finally:  # also if it was cancelled: what was asked may yet be done
            issued = tuple(each.token for each in (access, refresh) if each)
            call = Call(self.who, what, began, self._history.now(), outcome, sub, token, issued, said, wrong)
            self._history.calls.append(call)
        return Answered(call, access, refresh, retry_after)


def _is_about(token: Token, answer: httpx2.Response) -> bool:
    """Whether what an answer names, if it names anything, is of the token that was presented."""
    if answer.status_code != 200 or not answer.content:
        return True
    body = answer.json()
    if "refresh_token" in body:
        return Held.read("refresh", body["refresh_token"]).token.sid == token.sid
    return (body.get("jti", token.jti), body.get("sid", token.sid)) == (token.jti, token.sid)


def _seconds(said: str | None) -> float:
    return float(said) if said and said.isdigit() else 0.0


def _granted(answer: httpx2.Response) -> tuple[Outcome, str]:
    return ("issued", "") if answer.status_code == 200 else _not(answer)


def _done(answer: httpx2.Response) -> tuple[Outcome, str]:
    return ("done", "") if answer.status_code in {200, 204} else _not(answer)


def _accepted(answer: httpx2.Response) -> tuple[Outcome, str]:
    return ("accepted", "") if answer.status_code == 200 else _not(answer)


def _active(answer: httpx2.Response) -> tuple[Outcome, str]:
    if answer.status_code != 200:
        return _not(answer)
    return ("accepted", "") if answer.json()["active"] else ("refused", "inactive")


def _not(answer: httpx2.Response) -> tuple[Outcome, str]:
    """Read anything but a success."""
    if answer.status_code == 503:
        return "unavailable", "503"
    if not 400 <= answer.status_code < 500:
        return "failed", str(answer.status_code)
    try:
        body = answer.json()
    except ValueError:
        return "failed", f"{answer.status_code} without JSON"
    return "refused", f"{answer.status_code} {body.get('error', body.get('detail'))}"
