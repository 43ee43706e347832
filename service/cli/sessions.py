"""`sealwright sessions`: who is signed in, and ending that."""

from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Annotated
from uuid import UUID

import typer

from service.account import administration
from service.audit.reading import Filter, last
from service.cli import asking, given, output, story, telling
from service.cli.connect import run
from service.cli.revoking import run_revoking
from service.cli.story import Story
from service.database import Database, Row
from service.revocation import Revocations, record
from service.sessions import reading
from service.settings import Settings
from service.tokens import unverified
from service.users.store import usernames

app = typer.Typer(help="List and revoke sessions.", no_args_is_help=True)

_STORY = ("sid", "username", "client_id", "started_at", "refreshed_at", "generation", "replays")
_ALIVE = (*_STORY, "expires_at", "address")
_ENDED = (*_STORY, "ended_at", "end_reason", "alive")

_MOST_EVENTS = 1000

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


@app.command()
def why(
    sid: Annotated[
        str,
        typer.Argument(metavar="SID | -", help="The session; -: of the token on stdin, access or refresh."),
    ],
    *,
    as_json: output.Json = False,
) -> None:
    """Tell a session's story: how it began, how it went on, when and why it ended, what to tell its user."""
    wanted = _of_token() if sid == "-" else sid
    session_id = _session_id(wanted)
    if session_id is None:
        output.fail(f"{wanted!r} is no session id; see: sealwright sessions list")

    async def work(
        settings: Settings, database: Database
    ) -> tuple[Story | None, list[Row], timedelta, datetime]:
        async with database.transaction(snapshot=True) as db:
            events = await last(db, Filter(session_id=session_id), _MOST_EVENTS)
            row = await reading.story(db, session_id)
            now = (await record.head(db)).at
            if row is not None:
                grace = row["refresh_grace"]
                grace = settings.refresh_grace if grace is None else grace
                return story.of_row(row, events, grace, now), events, grace, now
            if not events:
                return None, events, settings.refresh_grace, now
            user_id = events[0]["user_id"]
            names = await usernames(db, [user_id] if user_id else [])
            return (
                story.of_events(str(session_id), events, names.get(user_id)),
                events,
                settings.refresh_grace,
                now,
            )

    found, events, grace, now = run(work)
    if found is None:
        output.fail(
            f"Nothing is known of session {session_id}: it never was here, or its audit events are over their "
            "retention. Is this the right deployment?"
        )
    if as_json:
        output.document({**asdict(found), "events": [dict(event) for event in events]})
        return
    for paragraph in telling.told(found, grace, now):
        output.line(paragraph)


def _of_token() -> str:
    try:
        token = unverified.read(asking.token(from_stdin=True))
    except unverified.NotAToken as error:
        output.fail(str(error))
    sid = token.unverified_claims.get("sid")
    if not isinstance(sid, str):
        output.fail("The token belongs to no session.")
    return sid


def _session_id(sid: str) -> UUID | None:
    try:
        return UUID(sid)
    except ValueError:
        return None
