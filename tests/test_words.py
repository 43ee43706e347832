"""Spans of time as the commands say them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.cli.words import ago, moment, span

SIZES = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400}


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "a moment"),
        (0.4, "a moment"),
        (1, "1 second"),
        (59, "59 seconds"),
        (119, "119 seconds"),
        (120, "2 minutes"),
        (899.5, "15 minutes"),
        (3_700, "62 minutes"),
        (7_200, "2 hours"),
        (86_400, "24 hours"),
        (14 * 86_400, "14 days"),
        (1_000_000 * 86_400, "1,000,000 days"),
        (-720, "12 minutes"),
    ],
)
def test_a_span_is_said_in_the_largest_unit_of_which_there_are_two(seconds: float, said: str) -> None:
    assert span(seconds) == said


@given(st.floats(min_value=1, max_value=1e12))
def test_a_span_is_never_off_by_more_than_a_quarter(seconds: float) -> None:
    count, unit = span(seconds).split()
    said = int(count.replace(",", "")) * SIZES[unit.removesuffix("s")]

    assert abs(said - seconds) <= seconds / 4 + 0.5


def test_a_time_is_before_or_after_now() -> None:
    assert ago(1000, 1000) == "a moment ago"
    assert ago(1000, 1180) == "3 minutes ago"
    assert ago(1720, 1000) == "in 12 minutes"
    assert moment(0) == "1970-01-01 00:00:00Z"
