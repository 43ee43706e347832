"""`sealwright audit`: read and follow the security events."""

import asyncio
import json
import signal
from collections.abc import Sequence
from typing import Annotated, Any, get_args
from uuid import UUID

import typer

from service.audit import Event
from service.audit.reading import Filter, Follower, last
from service.cli import given, output
from service.cli.connect import run
from service.database import Database, Row
from service.errors import Unavailable
from service.settings import Settings
from service.users import store as users

LOOK_EVERY = 0.5  # seconds

_NAMED = ("user", "client_id", "session_id", "address", "user_agent", "request_id", "actor")
_LABELS = {"client_id": "client", "session_id": "session", "actor": "by"}


def audit(
    *,
    user: Annotated[str | None, typer.Option(metavar="NAME", help="Of this user.")] = None,
    client: Annotated[str | None, typer.Option(metavar="ID", help="Of this client.")] = None,
    session: Annotated[UUID | None, typer.Option(metavar="SID", help="Of this session.")] = None,
    event: Annotated[
        str | None,
        typer.Option(help="One event, or a group of them: session.reuse, or session. with the dot."),
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Not older than 90s, 30m, 2h or 7d.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Wait for more, until Ctrl-C.")] = False,
    limit: Annotated[int, typer.Option(min=0, max=1_000_000, help="At most so many, the last.")] = 100,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a line, for programs.")
    ] = False,
) -> None:
    """Show security events, the newest last."""
    if event is not None and not any(known == event or known.startswith(event) for known in get_args(Event)):
        output.fail(f"There is no event {event!r}; there are: {', '.join(get_args(Event))}")
    age = None if since is None else given.span(since)

    async def work(_: Settings, database: Database) -> None:
        user_id = None if user is None else (await given.user(database, user)).id
        wanted = Filter(user_id, client, session, event, age)
        if not follow:
            async with database.connect() as db:
                found = await last(db, wanted, limit)
            await _show(database, found, as_json=as_json)
            return
        follower = Follower(database, wanted)
        await _show(database, await follower.start(wanted, limit), as_json=as_json)
        await _follow(database, follower, as_json=as_json)

    try:
        run(work)
    except (KeyboardInterrupt, asyncio.CancelledError):
        raise typer.Exit(130) from None


def _stopped_by_ctrl_c() -> asyncio.Event:
    """Return what Ctrl-C sets, besides cancelling: before Python 3.12, `asyncio.wait_for` may swallow that."""
    stopped, task = asyncio.Event(), asyncio.current_task()
    assert task is not None

    def stop() -> None:
        stopped.set()
        task.cancel()

    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, stop)
    return stopped


async def _follow(database: Database, follower: Follower, *, as_json: bool) -> None:
    stopped = _stopped_by_ctrl_c()
    away = False
    while True:
        await asyncio.sleep(LOOK_EVERY)
        if stopped.is_set():
            raise KeyboardInterrupt
        try:
            news = await follower.news()
        except Unavailable:
            if not away:
                output.say("Postgres cannot be reached; waiting for it.")
            away = True
            continue
        if away:
            output.say("Postgres is back; nothing was missed.")
        away = False
        await _show(database, news, as_json=as_json)


async def _show(database: Database, events: Sequence[Row], *, as_json: bool) -> None:
    names: dict[UUID, str] = {}
    if ids := {event["user_id"] for event in events if event["user_id"]}:
        try:
            async with database.connect() as db:
                names = await users.usernames(db, ids)
        except Unavailable:
            names = {}  # their ids will do; what was read must not be lost
    for event in events:
        told = {name: value for name, value in event.items() if name != "wanted"}
        told["user"] = names.get(event["user_id"])
        output.line(json.dumps(told, default=output.plain) if as_json else _line(told))


def _line(event: dict[str, Any]) -> str:
    named = {**event, "user": event["user"] or event["user_id"]}
    parts = [f"{event['at']:%Y-%m-%d %H:%M:%SZ}", event["event"]]
    if event["times"] > 1:
        parts.append(f"({event['times']:,} times)")
    if event["detail"]:
        parts.append(event["detail"])
    for name in _NAMED:
        if named[name] is not None:
            value = str(named[name])
            parts.append(f"{_LABELS.get(name, name)}={json.dumps(value) if ' ' in value else value}")
    return "  ".join(parts)
