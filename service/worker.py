"""What a worker process is told, by the one that starts it, of what it is to run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from service.board import Board


@dataclass(frozen=True, slots=True)
class Worker:
    """Builds the app in a worker.

    A worker that is not forked unpickles this before it can answer its parent's question whether it lives, for
    which it has a few seconds: so this module imports next to nothing.
    """

    counts: Board

    @staticmethod
    def load() -> None:
        """Load what a worker runs, for those that are forked from this process."""
        from service import app  # noqa: F401, PLC0415  # see above

    def __call__(self) -> ASGIApp:
        """Build it."""
        from service import app  # noqa: PLC0415  # see above

        return app.create(self.counts)
