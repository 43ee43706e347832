"""What a refresh costs when there are a million other sessions in the table."""

from collections.abc import Callable, Sequence
from statistics import median

import httpx2

from benchmarks.driving import Job, Measured, drive
from benchmarks.page import table
from benchmarks.stack import Ground, Stack
from tests.support.client import Api, Tokens
from tests.support.database import sql
from tests.support.deployment import on_server
from tests.support.forging import Forge

NOTICEABLE = 0.1
"""The share by which a figure may change."""

SECONDS = 3.0

SAMPLE = 6_000
"""More than can be refreshed in that time."""

FILL = """
WITH more AS (
    INSERT INTO users (username, email, roles)
    SELECT 'user-' || n, 'user-' || n || '@example.com', roles
    FROM users, generate_series(1, $1) AS n WHERE username = 'alice'
    RETURNING id
)
INSERT INTO sessions (id, user_id, client_id, started_at, ends_at, client_epoch, amr, scopes, resources, address,
                      user_agent, jti, refreshed_at, expires_at)
SELECT gen_random_uuid(), more.id, client_id, started_at, ends_at, client_epoch, amr, scopes, resources, address,
       user_agent, gen_random_uuid(), refreshed_at, expires_at
FROM more, (SELECT * FROM sessions LIMIT 1) AS one
"""
"""Adds so many users, each with a session as the one that is there."""

ANY = "SELECT id::text AS sid, jti::text, user_id::text AS sub FROM sessions ORDER BY random() LIMIT $1"

FIGURES: dict[str, Callable[[Measured], float]] = {
    "CPU of the service, ms": lambda seen: seen.each["service"],
    "CPU of Postgres, ms": lambda seen: seen.each["postgres"],
    "p50, ms": lambda seen: seen.p50,
    "p99, ms": lambda seen: seen.p99,
}
JUDGED = tuple(FIGURES)[:3]
"""Not the 99th percentile of so few answers: what else the machine does shows there first."""


def costs(ground: Ground, sessions: int, rows: int, rounds: int) -> tuple[str, dict[str, float]]:
    """Refresh in a small and in a large table, in turns; return the figures, and how much the large one changes them.

    First as many sessions in both, again and again. Then, in the large one, any session, each once: hardly anything
    that it takes is in Postgres's memory, and its page is written whole to the WAL. That is told, not judged.
    """
    lines = [["a refresh", f"{sessions:,} sessions", f"{rows:,} sessions", "change"]]
    with ground.serving() as small, ground.another().serving() as large:
        one = sign_in(large)
        fill(large, rows)
        few, many = Turns(small, small.sign_in(sessions)), Turns(large, any_of(large, one, sessions))
        same = in_turns(few.refresh, many.refresh, rounds)
        once = in_turns(few.refresh, lambda: refreshed(large, any_of(large, one, SAMPLE)), rounds)
    for what, (before, after) in ((f"the same {sessions:,}", same), ("each once", once)):
        for name, then in before.items():
            change = after[name] / then - 1
            lines.append([f"{what}: {name}", f"{then:.3f}", f"{after[name]:.3f}", f"{change:+.0%}"])
    return table(lines), {name: same[1][name] / same[0][name] - 1 for name in JUDGED}


class Turns:
    """Sessions that are refreshed again and again."""

    def __init__(self, stack: Stack, tokens: list[str]) -> None:
        self._stack = stack
        self._tokens = tokens

    def refresh(self) -> Measured:
        """Refresh them for a while."""
        seen = refreshed(self._stack, self._tokens)
        self._tokens = seen.tokens
        return seen


def in_turns(
    small: Callable[[], Measured], large: Callable[[], Measured], rounds: int
) -> tuple[dict[str, float], dict[str, float]]:
    """Measure one and the other, so many times, after a round that only warms up; return the medians of both."""
    small(), large()
    seen = [(small(), large()) for _ in range(rounds)]
    before, after = zip(*seen, strict=True)
    return medians(before), medians(after)


def medians(seen: Sequence[Measured]) -> dict[str, float]:
    """Return the median of each figure."""
    return {name: median(map(figure, seen)) for name, figure in FIGURES.items()}


def refreshed(stack: Stack, tokens: list[str]) -> Measured:
    """Refresh for a while, each token in its turn."""
    return drive(stack.port, Job.refreshing(tokens), stack.cpu, seconds=SECONDS)


def sign_in(stack: Stack) -> Tokens:
    """Begin the session that all others are made after."""
    with httpx2.Client(base_url=stack.server.url, timeout=60) as client:
        return Api(client).sign_in()


def fill(stack: Stack, rows: int) -> None:
    """Put so many sessions into the table, and let Postgres tidy up before anything is measured."""
    url = stack.deployment.database_url
    sql(url, FILL, rows)
    for statement in ("VACUUM (ANALYZE) users", "VACUUM (ANALYZE) sessions", "CHECKPOINT"):
        on_server(url, statement)


def any_of(stack: Stack, one: Tokens, count: int) -> list[str]:
    """Return the live refresh tokens of so many sessions, taken by chance, signed with the service's key."""
    forge = Forge(stack.deployment)
    forge.session = one
    found = sql(stack.deployment.database_url, ANY, count)
    return [forge.genuine(forge.refresh_payload | dict(row), "rt+jwt") for row in found]
