"""`sealwright sessions`: who is signed in, and ending that."""

from typing import Annotated
from uuid import UUID

import typer

from service.account import administration
from service.cli import given, output
from service.cli.connect import run, run_revoking
from service.database import Database, Row
from service.revocation import Revocations
from service.sessions import reading
from service.settings import Settings

app = typer.Typer(help="List and revoke sessions.", no_args_is_help=True)

_STORY = ("sid", "username", "client_id", "started_at", "refreshed_at", "generation", "replays")
_ALIVE = (*_STORY, "expires_at", "address")
_ENDED = (*_STORY, "ended_at", "end_reason", "alive")

User = Annotated[str | None, typer.Option(metavar="NAME", help="Of this user: username or email address.")]


@app.command(name="list")
def list_(
    *,
    user: User = None,
    ended: Annotated[bool, typer.Option("--ended", help="Show those that are over, too.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1_000_000, help="At most so many.")] = 100,
    as_json: output.Json = False,
) -> None:
    """Show sessions, the newest first."""

    async def work(_: Settings, database: Database) -> list[Row]:
        username = None if user is None else (await given.user(database, user)).username
        async with database.connect() as db:
            return await reading.listed(db, username=username, ended=ended, limit=limit + 1)

    found = run(work)
    output.rows([dict(row) for row in found[:limit]], _ENDED if ended else _ALIVE, as_json=as_json)
    if len(found) > limit:
        output.say(f"There are more than {limit}; for all of them give a higher --limit.")


@app.command()
def revoke(
    sid: Annotated[str | None, typer.Argument(help="From `sealwright sessions list`.")] = None,
    *,
    user: User = None,
) -> None:
    """End one session, or with --user everything that a user is signed in to; tokens are dead at once."""
    if (sid is None) == (user is None):
        output.fail("Name either one session, by its sid, or --user.")
    session_id = None if sid is None else _session_id(sid)

    async def everywhere(settings: Settings, database: Database, revocations: Revocations) -> str:
        known = await given.user(database, user or "")
        await administration.sign_out_everywhere(revocations, known.id, settings.revocation_lifetime)
        return f"{known.username} is signed out everywhere."

    async def one(settings: Settings, database: Database, revocations: Revocations) -> str:
        async with database.connect() as db:
            known = session_id and await reading.owner(db, session_id)
        if session_id is None or known is None:
            output.fail(f"There is no session {sid!r}; see: sealwright sessions list")
        ended = await administration.sign_out(
            revocations, session_id, "administrator", settings.revocation_lifetime
        )
        return f"Session {session_id} {'is ended' if ended else 'had ended before'}."

    output.say(run_revoking(everywhere if user is not None else one))


def _session_id(sid: str) -> UUID | None:
    try:
        return UUID(sid)
    except ValueError:
        return None
