"""What is to be reached, and whether it is."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """At most so much of something that is measured."""

    value: str
    """Its name among the measured ones."""
    unit: str
    most: float
    aim: float | None = None

    def verdict(self, values: Mapping[str, float]) -> str:
        """Say whether it is reached, or by how much it is missed."""
        seen = values[self.value]
        if seen > self.most:
            return f"missed by {_excess(seen, self.most)}"
        if self.aim is not None and seen > self.aim:
            return f"reached; the aim missed by {_excess(seen, self.aim)}"
        return "reached" if self.aim is None else "reached, the aim too"


def _excess(seen: float, most: float) -> str:
    return f"{seen / most - 1:.0%}" if most else f"{seen:g}"


TARGETS = (
    Target("client_credentials", "× a signature", 1.8, 1.5),
    Target("client_credentials: Postgres statements", "", 0),
    Target("client_credentials: Redis calls", "", 0),
    Target("refresh", "× two signatures", 2.2, 1.8),
    Target("refresh: CPU of Postgres", "ms", 0.3, 0.25),
    Target("refresh: Postgres statements", "", 1),
    Target("refresh: Redis calls", "", 0),
    Target("JWKS", "× a bare ASGI answer", 1.3),
    Target("metadata", "× a bare ASGI answer", 1.3),
    Target("introspect", "× a bare ASGI answer", 9),
    Target("introspect: Redis calls", "", 1),
    Target("`serve` to ready", "s", 1.5),
    Target("`make run` to ready", "s", 10),
    Target("memory of a worker after load", "MB", 120),
)
