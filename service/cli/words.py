"""Spans of time as people say them."""

from datetime import UTC, datetime

_UNITS = (("day", 86_400), ("hour", 3_600), ("minute", 60), ("second", 1))


def span(seconds: float) -> str:
    """Say how long that is, in the largest unit of which there are at least two: "12 minutes", "90 seconds"."""
    seconds = abs(seconds)
    for unit, size in _UNITS:
        count = round(seconds / size)
        if seconds >= 2 * size or (size == 1 and count):
            return f"{count:,} {unit}{'' if count == 1 else 's'}"
    return "a moment"


def ago(at: float, now: float) -> str:
    """Say when that was or will be: "3 minutes ago", "in 12 minutes"."""
    return f"{span(now - at)} ago" if at <= now else f"in {span(at - now)}"


def moment(at: float) -> str:
    """Write a time, given in seconds since 1970, as the tables do."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%SZ}"
