"""How long a revoked token is still good elsewhere, measured from outside: two services, over HTTP."""

import time
from collections.abc import Iterator
from statistics import quantiles

import httpx2

from tests.support.client import SERVICE_AUTH, bearer

PATIENCE = 30.0


def new_token(issuer: httpx2.Client) -> str:
    """Return an access token of the demo's service."""
    answer = issuer.post("/token", data={"grant_type": "client_credentials"}, auth=SERVICE_AUTH)
    assert answer.status_code == 200, answer.text
    token: str = answer.json()["access_token"]
    return token


def status(resource: httpx2.Client, token: str) -> int:
    """Return what a resource service answers."""
    return resource.get("/reports", headers=bearer(token)).status_code


def seconds_until_refused(issuer: httpx2.Client, resource: httpx2.Client, count: int) -> Iterator[float]:
    """Revoke tokens that are in use, one after the other; yield how long after the 200 each was first refused."""
    for _ in range(count):
        token = new_token(issuer)
        assert status(resource, token) == 200
        answer = issuer.post("/revoke", data={"token": token}, auth=SERVICE_AUTH)
        revoked = time.monotonic()
        assert answer.status_code == 200, answer.text
        while (seen := status(resource, token)) == 200:
            assert time.monotonic() - revoked < PATIENCE, "a revoked token is still good"
        assert seen == 401
        yield time.monotonic() - revoked


def snapshot(issuer: httpx2.Client, at_least: int, pause: float = 0) -> float:
    """Ask for everything in force, so many at least; return the seconds that it took."""
    time.sleep(pause)
    began = time.monotonic()
    answer = issuer.get("/revocations", auth=SERVICE_AUTH)
    took = time.monotonic() - began
    assert len(answer.json()["revocations"]) >= at_least
    return took


def milliseconds(taken: list[float]) -> str:
    """Say how they are distributed."""
    cuts = quantiles(taken, n=100, method="inclusive")
    return (
        f"p50 {cuts[49] * 1000:.1f} ms, p90 {cuts[89] * 1000:.1f} ms, p99 {cuts[98] * 1000:.1f} ms, "
        f"most {max(taken) * 1000:.1f} ms of {len(taken)}"
    )


MANY = """
WITH head AS (UPDATE revocation_head SET number = number + $1 RETURNING number - $1 AS before)
INSERT INTO revocations (number, kind, subject, reason, expires_at)
SELECT before + n, 'jti', gen_random_uuid()::text, 'revoked', now() + interval '30 minutes'
FROM head, generate_series(1, $1) AS n
"""
"""Adds so many revoked tokens to the record."""
