"""More than the service can do: it says so at once, does what it can, and gives back what it took.

`make test-overload` holds it to figures, and prints them; as a part of the suite, which runs on machines that are
busy with other things, to what no machine excuses.
"""

import sys
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest
from argon2 import PasswordHasher

from service.cli import demo
from service.protocol import MAX_BUSY
from service.settings import Settings
from tests.support.actors import PASSWORD, Actors
from tests.support.client import Api
from tests.support.deployment import Deployment
from tests.support.harassing import GET, KINDS, harass
from tests.support.load import Address, Answer, Pace, Peak, newcomers, percentile, post, processes, refreshes
from tests.support.processes import descriptors, eventually, resident

MIB = 1 << 20

PRODUCTION = {
    name: str(Settings.model_fields[name].default)
    for name in (
        "password_memory_kib",
        "password_iterations",
        "password_parallelism",
        "log_level",
        "access_log",
    )
}
"""As it comes, and not as the other tests have it."""

WORKERS = 2
SESSIONS = 16
GROWS = 24 * MIB
"""What a worker's own memory may grow by: it keeps things at hand when it is used."""

HELD = 160 * 1024
"""What a connection takes at most: a head or a body of 64 KiB, and what a read brings."""

IDLE = 120 * MIB
"""What a worker has at most when no hash is under way."""


@dataclass(frozen=True)
class Extent:
    """How long, and how strictly it is judged."""

    quiet: float
    loaded: float
    after: float
    strict: bool


EXTENTS = pytest.mark.parametrize(
    "extent",
    [
        pytest.param(Extent(2, 4, 1, strict=False), id="short"),
        pytest.param(Extent(15, 30, 10, strict=True), id="strict", marks=pytest.mark.minute),
    ],
)


def between(answers: Sequence[Answer], begin: float, end: float) -> list[float]:
    """The seconds of the answers to what was due in that time."""
    return [answer.seconds for answer in answers if begin <= answer.due < end]


def told(seconds: Sequence[float]) -> str:
    figures = (percentile(seconds, 0.5), percentile(seconds, 0.99), max(seconds))
    return "p50 {:7.1f}   p99 {:7.1f}   max {:7.1f} ms".format(*(1000 * figure for figure in figures))


def show(*lines: str) -> None:
    sys.stdout.write("\n".join((*lines, "")))


def hashes_alone(settings: Settings, seconds: float) -> float:
    """How many hashes a second this machine makes when it does nothing else for us."""
    hasher = PasswordHasher(
        settings.password_iterations, settings.password_memory_kib, settings.password_parallelism
    )
    begin = time.monotonic()

    def hash_on(_: int) -> int:
        made = 0
        while time.monotonic() < begin + seconds:
            hasher.hash(PASSWORD)
            made += 1
        return made

    with ThreadPoolExecutor(WORKERS) as pool:
        made = sum(pool.map(hash_on, range(WORKERS)))
    return made / (time.monotonic() - begin)


@EXTENTS
@pytest.mark.timeout(300)
def test_ten_times_the_sign_ins_that_can_be_done_are_turned_away_at_once_and_refreshes_go_on(
    extent: Extent, deployment: Deployment, api: Api, actors: Actors
) -> None:
    tokens = sessions(api, actors)
    own = deployment.having(**PRODUCTION)
    form = {"grant_type": "password", "client_id": demo.APP.client_id, "password": PASSWORD}
    requests = [
        post("/token", form | {"username": username}, b"Connection: close")
        for username in Actors(own).crowd(100)
    ]
    alone = hashes_alone(own.settings, extent.after)
    with own.serving(WORKERS) as server, processes(2) as (refreshing, signing_in):
        address, pids = Address.of(server.url), server.worker_pids()
        before = max(map(resident, pids))
        begin = time.monotonic() + 0.2
        load = Pace(10 * alone, extent.loaded, begin + extent.quiet)
        whole = Pace(40, load.end + 3 + extent.after - begin, begin)
        refreshed = refreshing.submit(refreshes, address, tokens, whole)
        with Peak(pids).looking() as peak:
            signed_in = signing_in.submit(newcomers, address, requests, load).result()
            settled = time.monotonic()
            normal = httpx2.post(
                f"{server.url}/token", data=form | {"username": actors.user().username}, timeout=30
            )
            assert normal.status_code == 200
        refresh = refreshed.result()
        eventually(lambda: max(map(resident, pids)) < IDLE, within=5)
        idle = max(map(resident, pids))
    alone = (alone + hashes_alone(own.settings, extent.after)) / 2

    good = [answer.seconds for answer in signed_in if answer.status == 200]
    refused = [answer for answer in signed_in if answer.status in {429, 503}]
    early = [answer.seconds for answer in refused]
    quiet = between(refresh, begin, load.begin) + between(refresh, settled + 1, whole.end)
    loaded = between(refresh, load.begin + 0.5, load.end)
    done = sum(answer.due + answer.seconds < load.end for answer in signed_in if answer.status == 200)
    goodput = done / extent.loaded / alone
    ratio = percentile(loaded, 0.99) / percentile(quiet, 0.99)
    show(
        f"\n{load.rate:.0f} sign-ins a second for {extent.loaded:.0f} s, of {alone:.1f} that Argon2 can do alone",
        f"  refresh, quiet     {told(quiet)}",
        f"  refresh, loaded    {told(loaded)}   p99 × {ratio:.1f}",
        f"  sign-in, refused   {told(early)}   {dict(Counter(answer.status for answer in refused))}",
        f"  sign-in, done      {told(good)}   {goodput:.0%} of what Argon2 can do alone",
        f"  memory of a worker {before / MIB:.0f} MiB before, {peak.memory / MIB:.0f} at most, {idle / MIB:.0f} after",
        f"  all answered       {settled - load.end:.1f} s after the last was sent",
    )

    assert {answer.status for answer in refresh} == {200}
    assert len(good) + len(refused) == len(signed_in)
    assert len(refused) > len(signed_in) / 2
    assert all(answer.retry_after > 0 for answer in refused)
    hashing = own.settings.password_threads * own.settings.password_memory_kib * 1024
    assert peak.memory < before + hashing + GROWS
    if extent.strict:
        assert ratio < 4
        assert percentile(early, 0.99) < 0.1
        # Whoever asks, and who is refused, takes a part of the same cores.
        assert goodput > 0.5
        # What was foreseen, and as long again for what was not.
        assert percentile(good, 0.99) < 2 * own.settings.password_wait.total_seconds() + 1
    else:
        # Beside each other, for both are slow on a machine that has no time for them.
        assert percentile(early, 0.5) < percentile(good, 0.5) / 4
        assert percentile(loaded, 0.99) < percentile(good, 0.5) / 2


@EXTENTS
@pytest.mark.timeout(300)
def test_callers_who_hold_connections_for_nothing_keep_no_one_out_and_take_a_bounded_part(
    extent: Extent, deployment: Deployment, api: Api, actors: Actors
) -> None:
    tokens = sessions(api, actors)
    many = 300 if extent.strict else 30
    own = deployment.having(max_connections="1000" if extent.strict else "100")
    with own.serving(WORKERS) as server, processes(3) as (refreshing, coming, harassing):
        address, pids = Address.of(server.url), server.worker_pids()
        begin = time.monotonic() + 0.2
        harm = Pace(1, extent.loaded, begin + extent.quiet)
        whole = Pace(20, harm.end - begin, begin)
        refreshed = refreshing.submit(refreshes, address, tokens, whole)
        came = coming.submit(
            newcomers, address, [GET.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n")], whole
        )
        eventually(lambda: time.monotonic() > harm.begin, within=extent.quiet + 5)
        before, open_before = max(map(resident, pids)), max(map(descriptors, pids))
        with Peak(pids).looking() as peak:
            held = harassing.submit(harass, address, dict.fromkeys(KINDS, many), extent.loaded).result()
        refresh, come = refreshed.result(), came.result()
        eventually(lambda: max(map(descriptors, pids)) <= open_before, within=10)
        if extent.strict:
            eventually(lambda: max(map(resident, pids)) < IDLE, within=30)
        idle = max(map(resident, pids))

    served = [answer.seconds for answer in come if answer.status == 200]
    quiet, loaded = between(refresh, begin, harm.begin), between(refresh, harm.begin, harm.end)
    show(
        f"\n{many * len(KINDS)} callers who mean harm, with {held.total()} connections in {extent.loaded:.0f} s",
        f"  refresh, quiet     {told(quiet)}",
        f"  refresh, harassed  {told(loaded)}",
        f"  newcomers          {told(served)}   {dict(Counter(answer.status for answer in come))}",
        f"  memory of a worker {before / MIB:.0f} MiB before, {peak.memory / MIB:.0f} at most, {idle / MIB:.0f} after",
        f"  its open files     {open_before} before, {peak.descriptors} at most",
    )
    assert all(held[kind] >= many for kind in KINDS)
    assert peak.descriptors >= own.settings.max_connections
    assert {answer.status for answer in refresh} == {200}
    connections = own.settings.max_connections + MAX_BUSY
    assert peak.descriptors <= open_before + connections
    assert peak.memory < before + connections * HELD + GROWS
    if extent.strict:
        assert len(served) > 0.95 * len(come)
        assert percentile(loaded, 0.99) < 0.5
    else:
        assert len(served) > 0.5 * len(come)


def sessions(api: Api, actors: Actors) -> list[str]:
    """The refresh tokens of some sessions."""
    person = actors.user()
    return [api.sign_in(person.username, PASSWORD).refresh for _ in range(SESSIONS)]
