"""The service with a fault of its own, to show that the checker can fail.

A mutant is made in each worker, before it serves. The product has no switch for it.
"""

import importlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from starlette.types import ASGIApp

from service.worker import Worker


def program(name: str) -> Sequence[str]:
    """Return what to run in place of `sealwright`."""
    return (sys.executable, "-c", "from tests.faults.mutants import main; main()", name)


@dataclass(frozen=True, slots=True)
class Mutant(Worker):
    """A worker that is not what it should be."""

    name: str

    def __call__(self) -> ASGIApp:
        """Change it, then build it."""
        MUTANTS[self.name]()
        return Worker.__call__(self)


def _believes_an_empty_blocklist() -> None:
    """Rebuild nothing, and say that all is there."""
    from service.revocation.blocklist import Blocklist

    rebuild = Blocklist.rebuild

    async def mark(self: Blocklist, timeline: UUID, entries: Sequence[Any], upto: int) -> bool:  # noqa: ARG001
        return await rebuild(self, timeline, (), upto)

    _put(Blocklist, "rebuild", mark)


def _rotates_by_reading_and_writing() -> None:
    """Read which token is the live one, then write another: in two statements, each right by itself."""
    import sqlalchemy as sa

    from service.database import Database, Statement
    from service.grants import refresh_token
    from service.sessions.live import Live
    from service.sessions.rotation import Presented, rotate
    from service.sessions.tables import sessions

    by_id = sessions.c.id == sa.bindparam("session_id", type_=sa.Uuid)
    read = Statement(sa.select(sessions.c.jti).where(by_id))
    write = Statement(
        sa.update(sessions)
        .where(by_id)
        .values(
            jti=sa.bindparam("successor", type_=sa.Uuid),
            previous_jti=sa.bindparam("presented", type_=sa.Uuid),
            refreshed_at=sa.func.clock_timestamp(),
            generation=sessions.c.generation + 1,
        )
    )

    async def read_then_write(database: Database, revocations: Any, presented: Presented, **more: Any) -> Any:
        successor = None
        async with database.connect() as db:
            if await db.value(read, session_id=presented.session_id) == presented.jti:
                successor = uuid4()
                await db.rows(
                    write, session_id=presented.session_id, successor=successor, presented=presented.jti
                )
        outcome = await rotate(database, revocations, presented, **more)  # what is left to say of the row
        return replace(outcome, jti=successor) if successor and isinstance(outcome, Live) else outcome

    _put(refresh_token, "rotate", read_then_write)


def _does_not_look_at_epochs() -> None:
    """Let what was made under a lower epoch live."""
    from service.revocation import revocations
    from service.revocation.entries import Kill

    def dead(_: Any, kills: Iterable[Kill]) -> bool:
        return any(kill.epoch is None for kill in kills)

    _put(revocations, "dead", dead)


def _put(where: object, name: str, what: object) -> None:
    assert hasattr(where, name), f"there is no {name} to replace: the mutant must follow the service"
    setattr(where, name, what)


def _begins_whatever_has_come() -> None:
    """Take a refresh for one that has just come, however old it is, and whether or not anybody waits for its answer."""
    from service.grants import refresh_token
    from service.sessions.rotation import Presented, rotate

    async def never() -> bool:
        return False

    async def late(database: Any, revocations: Any, presented: Presented, **more: Any) -> Any:
        minute = timedelta(minutes=1)
        presented = replace(
            presented, arrived=presented.arrived + minute, deadline=presented.deadline + minute
        )
        return await rotate(database, revocations, presented, **{**more, "hung_up": never})

    _put(refresh_token, "rotate", late)


def _forgets_the_audit() -> None:
    """Begin sessions without a word to the audit."""
    from service.sessions import starting

    async def audit(*_: Any, **__: Any) -> None:
        pass

    _put(starting, "audit", audit)


def _tells_of_its_parts_by_a_500() -> None:
    """Take nothing that Postgres or the way to it says for an outage."""
    from service import database

    _put(database, "_DOWN", ())


MUTANTS: dict[str, Callable[[], None]] = {
    "believes an empty blocklist": _believes_an_empty_blocklist,
    "rotates by reading and writing": _rotates_by_reading_and_writing,
    "does not look at epochs": _does_not_look_at_epochs,
    "begins whatever has come": _begins_whatever_has_come,
    "forgets the audit": _forgets_the_audit,
    "tells of its parts by a 500": _tells_of_its_parts_by_a_500,
}


def main() -> None:
    """Run `sealwright` with mutants for workers."""
    from service import cli

    name = sys.argv.pop(1)
    _put(importlib.import_module("service.cli.serve"), "Worker", lambda counts: Mutant(counts, name))
    cli.main()
