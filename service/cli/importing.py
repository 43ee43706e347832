"""`sealwright users import`: the users of another system, with their password hashes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from service.account.importing import MAX_LINE, BadLine, Counts, import_users
from service.cli import output
from service.cli.revoking import run_revoking
from service.database import Database
from service.revocation import Revocations
from service.settings import Settings


def import_(
    file: Annotated[Path, typer.Argument(help="A JSON object a line; - for stdin. See docs/users.md.")],
    *,
    update: Annotated[
        bool, typer.Option("--update", help="Bring users that are there already to what the file says.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be done.")] = False,
) -> None:
    """Import users with the hashes of their passwords: all lines or none. Who is there already is skipped."""

    async def work(settings: Settings, _: Database, revocations: Revocations) -> Counts:
        return await import_users(
            revocations, _lines(source), settings.revocation_lifetime, update=update, dry_run=dry_run
        )

    try:
        with _opened(file) as source:
            counts = run_revoking(work)
    except BadLine as error:
        output.fail(str(error))
    output.say(
        f"{'Would import' if dry_run else 'Imported'} {counts.added:,}, "
        f"{'update' if dry_run else 'updated'} {counts.updated:,}, "
        f"{'skip' if dry_run else 'skipped'} {counts.skipped:,}."
    )


def _opened(file: Path) -> BinaryIO:
    if str(file) == "-":
        return typer.get_binary_stream("stdin")
    try:
        return file.open("rb")
    except OSError as error:
        output.fail(f"Cannot read {file} ({error.strerror})")


def _lines(source: BinaryIO) -> Iterator[bytes]:
    while line := source.readline(MAX_LINE + 1):
        yield line
