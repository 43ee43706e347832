"""Who makes room for others: whoever has kept a connection waiting for longest, and nobody else."""

import math
from dataclasses import dataclass

from service.crowding import ROOM, SAFE_FOR, Crowd

NOW = 1000.0


@dataclass
class Caller:
    """A connection that has waited for its caller since then."""

    since: float
    left: bool = False

    def waiting_since(self) -> float:
        return math.inf if self.left else self.since

    def hang_up(self) -> None:
        self.left = True


def test_those_who_have_waited_longest_make_room_a_part_of_all_at_a_time() -> None:
    callers = [Caller(NOW - SAFE_FOR - age) for age in range(4 * ROOM)]

    assert Crowd().make_room(callers, NOW)
    assert [caller.left for caller in callers] == [False] * (4 * ROOM - 4) + [True] * 4


def test_who_has_just_come_or_is_being_answered_stays() -> None:
    callers = [Caller(NOW - SAFE_FOR / 2), Caller(math.inf)]

    assert not Crowd().make_room(callers, NOW)
    assert not any(caller.left for caller in callers)


def test_it_is_looked_again_as_soon_as_somebody_may_have_waited_long_enough() -> None:
    crowd, answered, fresh = Crowd(), Caller(math.inf), Caller(NOW - SAFE_FOR / 4)

    assert not crowd.make_room([answered, fresh], NOW)
    assert not crowd.make_room([answered, fresh], NOW + SAFE_FOR / 2)
    assert crowd.make_room([answered, fresh], NOW + SAFE_FOR)
    assert fresh.left

    assert not crowd.make_room([answered], NOW + SAFE_FOR)  # all are answered
    answered.since = NOW + SAFE_FOR
    assert crowd.make_room([answered], NOW + 2 * SAFE_FOR)
