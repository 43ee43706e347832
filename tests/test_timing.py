"""What the time of an answer tells: not whether a user exists."""

import random
import time
from collections.abc import Iterator

import httpx2
import pytest

from tests.support.actors import Actors
from tests.support.client import unique
from tests.support.deployment import Deployment
from tests.support.refusals import assert_oauth_error
from tests.support.statistics import kolmogorov_smirnov

TRIES = 200

HASHES = {"password_memory_kib": "8192", "password_iterations": "1", "password_parallelism": "1"}
"""Some milliseconds: without the work that a hash is, an answer stands out."""


@pytest.fixture(scope="module")
def quiet(deployment: Deployment) -> Iterator[tuple[Deployment, httpx2.Client]]:
    """A worker that nobody else asks."""
    own = deployment.having(**HASHES)
    with own.serving(workers=1) as server, httpx2.Client(base_url=server.url, timeout=30) as http:
        yield own, http


def took(http: httpx2.Client, username: str) -> float:
    form = {"grant_type": "password", "client_id": "demo-app", "username": username, "password": "wrong"}
    began = time.perf_counter()
    answer = http.post("/token", data=form)
    ended = time.perf_counter()
    assert_oauth_error(answer, "invalid_grant")
    return ended - began


def interleaved(http: httpx2.Client, usernames: tuple[str, str]) -> tuple[list[float], list[float]]:
    """The times of as many tries with either name: what else the machine does meets both alike."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TRIES):
        for which in random.sample((0, 1), 2):
            times[which].append(took(http, usernames[which]))
    return times


def test_an_unknown_user_and_a_wrong_password_take_the_same_time(
    quiet: tuple[Deployment, httpx2.Client],
) -> None:
    deployment, http = quiet
    usernames = Actors(deployment).user().username, unique("nobody")
    for username in usernames * 10:
        took(http, username)

    # One time in a thousand even equals look unequal; not twice in a row.
    likely = [kolmogorov_smirnov(*interleaved(http, usernames))]
    if likely[0] <= 0.001:
        likely.append(kolmogorov_smirnov(*interleaved(http, usernames)))

    assert likely[-1] > 0.001, likely


def test_the_comparison_finds_a_difference_of_0_6_standard_deviations_and_none_where_there_is_none() -> None:
    chance = random.Random(7)  # to be the same each time
    one, same, shifted = ([chance.gauss(mean, 1) for _ in range(TRIES)] for mean in (0, 0, 0.6))

    assert kolmogorov_smirnov(one, same) > 0.1
    assert kolmogorov_smirnov(one, shifted) < 0.001
    assert kolmogorov_smirnov(one, one) == 1
