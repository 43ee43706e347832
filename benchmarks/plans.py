"""What the generator sends: the same again and again, tokens in turns, or one token by a crowd."""

import re
from collections import deque
from collections.abc import Iterable
from typing import Protocol
from urllib.parse import quote

_SUCCESSOR = re.compile(rb'"refresh_token": *"([^"]+)"')

Caller = int
"""Which of the connections."""


def get(path: str) -> bytes:
    """Return a request."""
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode()


def post(path: str, form: str) -> bytes:
    """Return a request with an encoded form."""
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAccept: application/json\r\n"
    kind = f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n"
    return f"{head}{kind}\r\n{form}".encode()


class Plan(Protocol):
    """What is sent."""

    @property
    def left(self) -> list[str]:
        """The tokens that are good when all is over."""

    def request(self, caller: Caller) -> bytes:
        """Return what this caller sends now."""

    def answered(self, caller: Caller, body: bytes | None) -> Iterable[Caller]:
        """Take an answer, None unless it was a 200; return who sends next."""


class Repetition:
    """Every caller sends the same again and again."""

    left: list[str] = []  # noqa: RUF012  # never changed

    def __init__(self, request: bytes) -> None:
        self._request = request

    def request(self, _: Caller) -> bytes:
        """Return it."""
        return self._request

    def answered(self, caller: Caller, _: bytes | None) -> Iterable[Caller]:
        """Go on."""
        return (caller,)


class Rotation:
    """Each caller exchanges the token that has waited longest; its successor waits behind all others."""

    def __init__(self, path: str, tokens: Iterable[str]) -> None:
        self._path = path
        self._tokens = deque(tokens)
        self._taken: dict[Caller, str] = {}

    @property
    def left(self) -> list[str]:
        """The live ones."""
        return list(self._tokens)

    def request(self, caller: Caller) -> bytes:
        """Return the exchange of the next token."""
        token = self._taken[caller] = self._tokens.popleft()
        return exchange(self._path, token)

    def answered(self, caller: Caller, body: bytes | None) -> Iterable[Caller]:
        """Keep the successor; after anything but a 200, the token, which may be sent again."""
        token = self._taken.pop(caller)
        self._tokens.append(token if body is None else successor(body))
        return (caller,)


class Crowd:
    """All callers present one token at the same moment, wait until each has its answer, and go on to the next."""

    def __init__(self, path: str, tokens: Iterable[str], callers: int) -> None:
        self._path = path
        self._tokens = deque(tokens)
        self._callers = callers
        self._seen: list[str] = []
        self._waiting = 0

    @property
    def left(self) -> list[str]:
        """The live ones."""
        return list(self._tokens)

    def request(self, _: Caller) -> bytes:
        """Return the exchange of the token that it is about."""
        return exchange(self._path, self._tokens[0])

    def answered(self, _: Caller, body: bytes | None) -> Iterable[Caller]:
        """Wait for the others; all must have been given the same."""
        self._waiting += 1
        if body is not None:
            self._seen.append(successor(body))
        if self._waiting < self._callers:
            return ()
        if len(set(self._seen)) > 1:
            raise SystemExit(f"one token, {len(set(self._seen))} successors")
        token = self._tokens.popleft()
        self._tokens.append(self._seen[0] if self._seen else token)
        self._seen.clear()
        self._waiting = 0
        return range(self._callers)


def exchange(path: str, token: str) -> bytes:
    """Return the request that rotates a token."""
    return post(path, f"refresh_token={quote(token)}")


def successor(body: bytes) -> str:
    """Return the refresh token of an answer."""
    found = _SUCCESSOR.search(body)
    if found is None:
        raise SystemExit("a 200 without a refresh token")
    return found[1].decode()


def plan_of(job: dict[str, str], tokens: list[str], callers: int) -> Plan:
    """Return what a job asks for."""
    match job["plan"]:
        case "rotation":
            return Rotation(job["path"], tokens)
        case "crowd":
            return Crowd(job["path"], tokens, callers)
        case _:
            return Repetition(job["request"].encode())
