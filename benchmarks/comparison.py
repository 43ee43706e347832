"""Telling a loss from noise: a ratio that is worse than the stored one is measured again before it counts."""

from collections.abc import Callable, Collection, Mapping

LOSS = 1.15
"""How much worse than the stored one a ratio may be."""

TRIES = 2
"""How often a lost ratio is measured again. Machines have bad moments; a slower program has no good ones."""

Ratios = Mapping[str, float]


def lost(stored: Ratios, measured: Ratios) -> dict[str, float]:
    """Return by what factor each ratio is worse, of those that are by more than `LOSS`.

    A stored ratio that is no longer measured counts as lost: a benchmark that is gone must not pass for a good one.
    """
    factors = {name: measured.get(name, float("inf")) / before for name, before in stored.items()}
    return {name: factor for name, factor in factors.items() if factor > LOSS}


def confirmed(
    stored: Ratios, measured: Ratios, again: Callable[[Collection[str]], Ratios]
) -> dict[str, float]:
    """Return the losses that stay when they are looked at again, each by its best factor."""
    losses = lost(stored, measured)
    for _ in range(TRIES):
        if not losses:
            break
        repeated = lost({name: stored[name] for name in losses}, again(losses))
        losses = {name: min(factor, losses[name]) for name, factor in repeated.items()}
    return losses
