"""Telling two samples apart."""

import math
from bisect import bisect_right
from collections.abc import Sequence


def kolmogorov_smirnov(one: Sequence[float], other: Sequence[float]) -> float:
    """The probability that two samples of one distribution lie as far apart as these, or farther.

    Kolmogorov's limit, with Stephens' correction for small samples (J. R. Stat. Soc. B 32, 1970).
    """
    first, second = sorted(one), sorted(other)
    apart = max(
        abs(bisect_right(first, value) / len(first) - bisect_right(second, value) / len(second))
        for value in first + second
    )
    size = math.sqrt(len(first) * len(second) / (len(first) + len(second)))
    x = apart * (size + 0.12 + 0.11 / size)
    terms = (math.exp(-2 * (k * x) ** 2) * (-1) ** (k - 1) for k in range(1, 101))
    return min(1.0, max(0.0, 2 * sum(terms))) if x > 0.2 else 1.0
