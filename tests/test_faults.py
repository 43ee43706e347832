"""Clients and harm: a run with the main harms violates nothing, and a service that is not right is found out.

`make test-faults` does the same at length.
"""

from collections.abc import Iterator

import pytest

from tests.faults import mutants
from tests.faults.checker import ACCEPTED, ANSWERED, FORKED, LOST, SIGNED_OUT, check
from tests.faults.found import NOTHING
from tests.faults.history import History
from tests.faults.house import House, built
from tests.faults.plan import Deed, Disable, FlushRedis, KillPostgres, Plan, Stop, draw, draw_short
from tests.faults.run import never, run, run_in
from tests.faults.telling import told

_SECONDS = 40
"""In which a mutant has to be found out; on a quiet machine it takes a few."""


def repeated(deed: Deed, every: int) -> tuple[tuple[float, Deed], ...]:
    return tuple((float(at), deed) for at in range(1, _SECONDS - every, every))


pytestmark = pytest.mark.timeout(300)

LONGER = pytest.mark.minute
"""Part of `make test-faults` alone."""

CAUGHT = [
    pytest.param("believes an empty blocklist", ACCEPTED, repeated(FlushRedis(), 1)),
    pytest.param("rotates by reading and writing", FORKED, ()),
    pytest.param("does not look at epochs", ACCEPTED, repeated(Disable(0, 0.05), 1)),
    pytest.param("begins whatever has come", SIGNED_OUT, repeated(Stop("a worker", 0, 5.0), 7), marks=LONGER),
    pytest.param("forgets the audit", LOST, (), marks=LONGER),
    pytest.param("tells of its parts by a 500", ANSWERED, repeated(KillPostgres(0.5), 3), marks=LONGER),
]
"""Mutants, the property that each violates, and the harm that shows it."""


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    with built(tmp_path_factory.mktemp("house"), fsync=False) as made:
        yield made


def test_clients_that_keep_to_the_protocol_come_through_the_main_harms() -> None:
    done = run(draw_short(1))

    assert not done.violations, "\n".join(told(done))
    assert "Traceback" not in done.log
    seen = {call.outcome for call in done.history.calls}
    assert seen >= {"issued", "accepted", "done", "refused", "silent"}
    assert {harm.what for harm in done.history.harms} >= {
        "1 of 2 workers are killed",
        "Postgres is killed",
        "Redis comes back from an older dump",
        "FLUSHALL",
        "the pool is full",
        "a worker is stopped",
        "the keys rotate",
    }


@pytest.mark.parametrize(("name", "violated", "deeds"), CAUGHT)
def test_a_service_that_is_not_right_is_found_out(
    house: House, name: str, violated: str, deeds: tuple[tuple[float, Deed], ...]
) -> None:
    def is_found_out(history: History) -> bool:
        return violated in {violation.of for violation in check(history, NOTHING)}

    # What Postgres lacks is seen afterwards.
    seconds, enough = (3.0, never) if violated == LOST else (_SECONDS, is_found_out)
    done = run_in(house, Plan(1, seconds, 18, 3, deeds), program=mutants.program(name), enough=enough)

    assert violated in {violation.of for violation in done.violations}


@LONGER
@pytest.mark.parametrize(
    "deeds", [case.values[2] for case in CAUGHT], ids=[str(case.values[0]) for case in CAUGHT]
)
def test_what_finds_a_mutant_out_finds_nothing_in_the_service_itself(
    house: House, deeds: tuple[tuple[float, Deed], ...]
) -> None:
    done = run_in(house, Plan(1, 20.0, 18, 3, tuple(each for each in deeds if each[0] < 12)))

    assert not done.violations, "\n".join(told(done))


def test_every_mutant_is_caught() -> None:
    assert {case.values[0] for case in CAUGHT} == set(mutants.MUTANTS)


def test_the_same_seed_is_the_same_harm_and_the_same_decisions() -> None:
    once, again, other = draw(7), draw(7), draw(8)

    assert once == again
    assert once.deeds != other.deeds
    for client in range(once.clients):
        steps = zip(once.steps(client), again.steps(client), other.steps(client), strict=True)
        first = [next(steps) for _ in range(50)]
        assert all(one == two for one, two, _ in first)
        assert any(one != three for one, _, three in first)
