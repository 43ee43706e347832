"""What is measured over HTTP, and the floor that each stands on."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from urllib.parse import urlencode

import httpx2

from benchmarks.driving import CONNECTIONS, Job
from benchmarks.plans import get, post
from benchmarks.stack import Stack
from service.cli import demo
from service.metadata import JWKS_PATH, PATHS
from tests.support.revoking import new_token

_SERVICE = {"client_id": demo.SERVICE.client_id, "client_secret": demo.SERVICE_SECRET}
_ALICE = {
    "client_id": demo.APP.client_id,
    "username": demo.ALICE.username,
    "password": demo.PASSWORD,
}


@dataclass(frozen=True)
class Operation:
    """Something that callers ask for."""

    name: str
    floor: str
    job: Callable[["Subjects"], Job]
    times: int = 1
    """How often it cannot do without its floor."""
    commits: bool = False
    """Whether what it costs in Postgres is told in commits."""
    weight: float = 1
    """How much longer than others it has to run for as good a figure."""
    callers: int = CONNECTIONS


class Subjects:
    """What requests are about, made when it is first needed."""

    def __init__(self, stack: Stack) -> None:
        self._stack = stack

    @cached_property
    def refresh(self) -> list[str]:
        """Live refresh tokens, one a connection."""
        return self._stack.sign_in(CONNECTIONS)

    @cached_property
    def access(self) -> str:
        """An access token."""
        with httpx2.Client(base_url=self._stack.server.url, timeout=60) as client:
            return new_token(client)


def _form(path: str, fields: Mapping[str, str]) -> Job:
    return Job.of(post(path, urlencode(fields)))


OPERATIONS = (
    Operation(
        "client_credentials",
        "signature",
        lambda _: _form("/token", {"grant_type": "client_credentials", **_SERVICE}),
    ),
    Operation(
        "refresh",
        "signature",
        lambda subjects: Job.refreshing(subjects.refresh),
        times=2,
        commits=True,
    ),
    Operation("JWKS", "bare answer", lambda _: Job.of(get(JWKS_PATH))),
    Operation("metadata", "bare answer", lambda _: Job.of(get(PATHS[0]))),
    Operation(
        "introspect",
        "bare answer",
        lambda subjects: _form("/introspect", {"token": subjects.access, **_SERVICE}),
    ),
    Operation(
        "password sign-in",
        "password hash",
        lambda _: _form("/token", {"grant_type": "password", **_ALICE}),
        weight=2.5,
        callers=4,  # more than would have their turn in time are turned away
    ),
)
