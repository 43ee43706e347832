"""What commands that revoke need besides: the deployment's revocations, and with them Redis."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from service.cli import output
from service.cli.connect import run
from service.database import Database
from service.revocation import Revocations
from service.settings import Settings

T = TypeVar("T")


@asynccontextmanager
async def revoking(
    settings: Settings, database: Database, *, follow: bool = True
) -> AsyncIterator[Revocations]:
    """Lend the revocations, so that a command's change is on the blocklist when it ends."""
    revocations = Revocations.of(settings, database)
    await revocations.start(follow=follow)
    try:
        yield revocations
    finally:
        await revocations.stop()


def run_revoking(work: Callable[[Settings, Database, Revocations], Awaitable[T]]) -> T:
    """Do the work of a command that revokes; what it revoked holds everywhere when the command has ended."""

    async def main(settings: Settings, database: Database) -> T:
        async with revoking(settings, database, follow=False) as revocations:
            result = await work(settings, database, revocations)
            if revocations.problem:
                output.say(
                    f"The blocklist is not in use ({revocations.problem}): "
                    "the services learn of this from Postgres, within a second."
                )
            return result

    return run(main)
