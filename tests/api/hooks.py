"""Loaded by schemathesis: who calls, and with what of their own.

A user is made for the calls, and replaced by another once one has ended their session: no call meets a user whom an
earlier one has signed out. In every second call what was generated gives way to what the caller really has, so that
each operation is also seen to succeed; the others, and all that are to be refused, go as they are.
"""

import base64
import itertools
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, TypeAlias

import httpx2
import schemathesis
from schemathesis import AuthContext, Case, HookContext, Response

from tests.support.actors import PASSWORD
from tests.support.client import SERVICE_AUTH, Api, bearer, unique
from tests.support.deployment import METRICS_TOKEN

Made: TypeAlias = Case[Any]

ENDING = {"delete_me", "change_password", "end_session", "logout", "logout_all"}
"""What ends the caller's session, or makes their password another one."""

NOT_BY_BASIC = {"client_id", "client_secret", "client_assertion_type", "client_assertion"}
NOT_EVERYBODYS = {"scope", "resource"}

SERVICE = f"Basic {base64.b64encode(':'.join(SERVICE_AUTH).encode()).decode()}"


class User:
    """A user, and their session."""

    def __init__(self, http: httpx2.Client) -> None:
        self.username = unique("user")
        http.post("/users", json={"username": self.username, "password": PASSWORD}).raise_for_status()
        self._http = http
        tokens = Api(http).sign_in(self.username, PASSWORD)
        self.authorization = bearer(tokens.access)["Authorization"]
        self.sid = tokens.claims["sid"]

    def refresh_token(self) -> str:
        """Of a session through the demo's service."""
        client = dict(zip(("client_id", "client_secret"), SERVICE_AUTH, strict=True))
        return Api(self._http).sign_in(self.username, PASSWORD, **client).refresh


class Users:
    """Has a user at hand who is signed in."""

    def __init__(self) -> None:
        self._http: httpx2.Client | None = None
        self._present: User | None = None
        self.gone: set[str] = set()
        """The Authorization headers of those whose session has ended."""

    def present(self, case: Made) -> User:
        if self._present is None:
            self._http = self._http or httpx2.Client(base_url=case.operation.schema.get_base_url())
            self._present = User(self._http)
        return self._present

    def end(self) -> None:
        if self._present is not None:
            self.gone.add(self._present.authorization)
        self._present = None


USERS = Users()
TURNS: Mapping[str, Iterator[bool]] = defaultdict(lambda: itertools.cycle([True, False]))


def is_own_turn(case: Made) -> bool:
    return case.meta is not None and case.meta.generation.mode.is_positive and next(TURNS[name_of(case)])


def name_of(case: Made) -> str:
    name: str = case.operation.definition.raw["operationId"]
    return name


@schemathesis.auth(refresh_interval=None)
class Callers:
    """Proves the caller to the operation."""

    def get(self, case: Made, _: AuthContext) -> str | None:
        security: list[dict[str, Any]] = case.operation.definition.raw.get("security", [])
        if {} in security:  # a client proves itself in the form, too
            return SERVICE if is_own_turn(case) else None
        if {"basic": []} in security:
            return SERVICE
        if name_of(case) == "metrics":
            return bearer(METRICS_TOKEN)["Authorization"]
        return USERS.present(case).authorization if security else None

    def set(self, case: Made, authorization: str | None, _: AuthContext) -> None:
        if authorization is not None:
            case.headers["Authorization"] = authorization


@schemathesis.hook
def filter_body(context: HookContext, body: Any) -> bool:
    # What Unicode's NFKC makes of a name, a pattern cannot tell.
    if context.operation is None or context.operation.path != "/users" or not isinstance(body, dict):
        return True
    names = [body[member] for member in ("username", "email") if isinstance(body.get(member), str)]
    return all(unicodedata.is_normalized("NFKC", name) and name == name.strip() for name in names)


@schemathesis.hook
def before_call(_: HookContext, case: Made, __: Mapping[str, Any]) -> None:
    if case.headers.get("Authorization") in USERS.gone:  # since the case was made
        case.headers["Authorization"] = USERS.present(case).authorization
    if case.headers.get("Authorization") == SERVICE:
        _as_the_service(case)
    elif name_of(case) == "end_session" and is_own_turn(case):
        case.path_parameters["sid"] = USERS.present(case).sid
    elif isinstance(case.body, dict) and "current_password" in case.body and is_own_turn(case):
        case.body = {**case.body, "current_password": PASSWORD}


def _as_the_service(case: Made) -> None:
    if not isinstance(case.body, dict):
        return
    case.body = {
        name: value for name, value in case.body.items() if name not in NOT_BY_BASIC | NOT_EVERYBODYS
    }
    user, token = USERS.present(case), case.body.get("refresh_token")
    if case.body.get("grant_type") == "password":
        case.body |= {"username": user.username, "password": PASSWORD}
    elif isinstance(token, str) and token.count(".") != 2:  # else it is of an earlier answer
        case.body["refresh_token"] = user.refresh_token()


@schemathesis.hook
def after_call(_: HookContext, case: Made, response: Response) -> None:
    if name_of(case) in ENDING and 200 <= response.status_code < 300:
        USERS.end()
