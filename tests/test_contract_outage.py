"""The contract: the issuer is killed and comes back; what resource services do meanwhile, and that they heal."""

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial

import httpx2

from service.embedded import ports
from tests.support.client import Api, bearer
from tests.support.deployment import Deployment
from tests.support.orders import ordering
from tests.support.processes import eventually
from tests.support.revoking import status

FEED_AGE = 2.0
"""Seconds in place of 30, so that the outage need not last a minute."""
LONGER = 2.0
"""Seconds that the outage goes on after the news have become too old."""
PATIENCE = 60.0


@contextmanager
def two_resources(deployment: Deployment, issuer: str) -> Iterator[tuple[httpx2.Client, httpx2.Client]]:
    """Run orders twice: as it is by default, and accepting tokens while it knows nothing new."""
    with (
        ordering(deployment, issuer, max_feed_age=FEED_AGE) as by_default,
        ordering(deployment, issuer, max_feed_age=FEED_AGE, stale="accept") as accepting,
        httpx2.Client(base_url=by_default.url, timeout=20) as first,
        httpx2.Client(base_url=accepting.url, timeout=20) as second,
    ):
        yield first, second


def test_known_tokens_outlast_a_dead_issuer_as_far_as_each_service_chose_and_all_heals(
    deployment: Deployment,
) -> None:
    port = ports.choose()
    with ExitStack() as stack:
        issuer = stack.enter_context(deployment.serving(workers=1, port=port))
        by_default, accepting = stack.enter_context(two_resources(deployment, issuer.url))
        with httpx2.Client(base_url=issuer.url, timeout=20) as http:
            good, revoked = Api(http).sign_in().access, Api(http).sign_in().access
            Api(http).revoke(revoked)
        for resource in (by_default, accepting):
            assert status(resource, good) == 200
            eventually(partial(refuses, resource, revoked), within=PATIENCE)

        issuer.process.kill()
        issuer.process.wait(PATIENCE)

        went_on = seen_until_unavailable(by_default, accepting, good)
        assert went_on > 0, "nothing was served after the issuer had died"
        told = by_default.get("/reports", headers=bearer(good))
        assert int(told.headers["retry-after"]) > 0
        until = time.monotonic() + LONGER
        while time.monotonic() < until:
            assert status(by_default, good) == 503
            assert status(accepting, good) == 200
            assert status(by_default, revoked) == status(accepting, revoked) == 401

        with deployment.serving(workers=1, port=port):
            for resource in (by_default, accepting):
                eventually(partial(follows, resource), within=PATIENCE)
                assert status(resource, good) == 200
                assert status(resource, revoked) == 401


def seen_until_unavailable(by_default: httpx2.Client, accepting: httpx2.Client, token: str) -> int:
    """How many requests the one served until it answered 503; the other serves all along."""
    served = 0
    deadline = time.monotonic() + PATIENCE
    while (seen := status(by_default, token)) == 200:
        assert status(accepting, token) == 200
        assert time.monotonic() < deadline, "old news are still trusted"
        served += 1
    assert seen == 503
    return served


def refuses(resource: httpx2.Client, token: str) -> bool:
    return status(resource, token) == 401


def follows(resource: httpx2.Client) -> bool:
    doing: str = resource.get("/readyz").json()["tokens"]
    return doing == "verify"
