"""Clients and harm: a run with the main harms violates nothing, and a service that is not right is found out.

`make test-faults` does the same at length.
"""

from collections.abc import Iterator

import pytest

from tests.faults import mutants
from tests.faults.checker import ACCEPTED, FORKED, check
from tests.faults.found import NOTHING
from tests.faults.history import History
from tests.faults.house import House, built
from tests.faults.plan import Deed, Disable, FlushRedis, Plan, draw, draw_short
from tests.faults.run import run, run_in
from tests.faults.telling import told

_SECONDS = 25.0
"""In which a mutant has to be found out; on a quiet machine it takes one or two."""

CAUGHT: dict[str, tuple[str, Deed | None]] = {
    "believes an empty blocklist": (ACCEPTED, FlushRedis()),
    "rotates by reading and writing": (FORKED, None),
    "does not look at epochs": (ACCEPTED, Disable(0, 0.05)),
}
"""Each mutant, the property that it violates, and the harm that shows it, done every second."""


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


@pytest.mark.parametrize("name", mutants.MUTANTS)
def test_a_service_that_is_not_right_is_found_out(house: House, name: str) -> None:
    violated, deed = CAUGHT[name]
    deeds = tuple((float(at), deed) for at in range(1, int(_SECONDS)) if deed is not None)

    def is_found_out(history: History) -> bool:
        return violated in {violation.of for violation in check(history, NOTHING)}

    done = run_in(house, Plan(1, _SECONDS, 12, 3, deeds), program=mutants.program(name), enough=is_found_out)

    assert violated in {violation.of for violation in done.violations}


def test_the_same_seed_is_the_same_harm_and_the_same_decisions() -> None:
    once, again, other = draw(7), draw(7), draw(8)

    assert once == again
    assert once.deeds != other.deeds
    for client in range(once.clients):
        steps = zip(once.steps(client), again.steps(client), other.steps(client), strict=True)
        first = [next(steps) for _ in range(50)]
        assert all(one == two for one, two, _ in first)
        assert any(one != three for one, _, three in first)
