"""What a refresh costs when there are a million other sessions in the table."""

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

SERVICE, POSTGRES, P50, P99 = "CPU of the service, ms", "CPU of Postgres, ms", "p50, ms", "p99, ms"
JUDGED = (SERVICE, POSTGRES, P50)
"""Not the 99th percentile of so few answers: what else the machine does shows there first."""


def costs(ground: Ground, sessions: int, rows: int, rounds: int) -> tuple[str, dict[str, float]]:
    """Refresh in a small and in a large table, in turns; return the table of figures, and by how much they change.

    In the large one, any of its sessions: what is needed is seldom in Postgres's memory, and its page is written whole.
    """
    with ground.serving() as small, ground.another().serving() as large:
        one = sign_in(large)
        fill(large, rows)
        few = small.sign_in(sessions)
        before, after = [], []
        for _ in range(rounds):
            seen = refreshed(small, few)
            few = seen.tokens
            before.append(seen)
            after.append(refreshed(large, any_of(large, one, SAMPLE)))
    large_table = middle_of(after)
    figures = [(name, then, large_table[name]) for name, then in middle_of(before).items()]
    changes = {name: now / then - 1 for name, then, now in figures if name in JUDGED}
    head = [["a refresh", f"{sessions:,} sessions", f"{rows:,} sessions", "change"]]
    body = [[name, f"{then:.3f}", f"{now:.3f}", f"{now / then - 1:+.0%}"] for name, then, now in figures]
    return table(head + body), changes


def refreshed(stack: Stack, tokens: list[str]) -> Measured:
    """Refresh for a while, each token in its turn."""
    return drive(
        stack.port, Job({"plan": "rotation", "path": "/refresh"}, tokens), stack.cpu, seconds=SECONDS
    )


def middle_of(seen: list[Measured]) -> dict[str, float]:
    """Return the medians."""
    return {
        SERVICE: median(each.each["service"] for each in seen),
        POSTGRES: median(each.each["postgres"] for each in seen),
        P50: median(each.p50 for each in seen),
        P99: median(each.p99 for each in seen),
    }


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
