"""`sealwright restored`: after Postgres was restored, or failed over to a standby that was behind."""

from datetime import datetime
from typing import Annotated

import typer

from service.account import restoring
from service.cli import output
from service.cli.connect import run
from service.cli.revoking import run_revoking
from service.database import Database
from service.revocation import Revocations, record
from service.settings import Settings


def restored(
    *,
    keep_sessions: Annotated[
        bool,
        typer.Option(
            "--keep-sessions", help="Sign nobody out, not even who was signed out since the backup."
        ),
    ] = False,
) -> None:
    """Tell the service that Postgres has gone back in time: what was made before it, and may be revoked, is over."""

    # A transaction of its own: the copy of the record has the timeline of the original, whose blocklist may be in use.
    async def begin(_: Settings, database: Database) -> datetime:
        async with database.connect() as db:
            return await record.begin_timeline(db)

    async def work(settings: Settings, database: Database, revocations: Revocations) -> None:
        await restoring.begin_anew(revocations, settings.revocation_lifetime, keep_sessions=keep_sessions)
        if not keep_sessions:
            await restoring.mark_sessions(database, began)

    began = run(begin)
    run_revoking(work)
    if keep_sessions:
        output.say("Every access token is dead; sessions go on, and get new ones.")
    else:
        output.say("Every access token is dead, and every session is over: users sign in again.")
