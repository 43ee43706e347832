"""`sealwright clients`: the programs that ask for tokens."""

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Annotated, Any

import typer

from service.account import administration, registration
from service.cli import asking, given, output
from service.cli.connect import run, run_revoking
from service.clients import rules, store
from service.database import Database, Row
from service.revocation import Revocations
from service.settings import PREFIX, Settings

app = typer.Typer(help="Add, disable and list clients.", no_args_is_help=True)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID")]
_Several = list[str] | None

_COLUMNS = ("client_id", "public", "first_party", "grant_types", "scopes", "resources", "disabled")


@app.command()
def add(
    client_id: ClientId,
    *,
    name: Annotated[str | None, typer.Option(help="As people know it; else the client_id.")] = None,
    public: Annotated[bool, typer.Option("--public", help="It cannot keep a secret and gets none.")] = False,
    grant: Annotated[
        _Several, typer.Option(help=f"One of {', '.join(store.GRANT_TYPES)}; repeat it.")
    ] = None,
    first_party: Annotated[
        bool, typer.Option("--first-party", help="It is ours: may use passwords and the account endpoints.")
    ] = False,
    scope: Annotated[_Several, typer.Option(help="What it may be granted; repeat it.")] = None,
    default_scope: Annotated[
        _Several, typer.Option(help="What it is granted when it asks for none; repeat it.")
    ] = None,
    resource: Annotated[_Several, typer.Option(help="An audience it may ask for; repeat it.")] = None,
    default_resource: Annotated[
        _Several, typer.Option(help="Its audience when it asks for none; repeat it.")
    ] = None,
    introspect_any: Annotated[
        bool, typer.Option("--introspect-any", help="It may introspect every access token.")
    ] = False,
    refresh_grace: Annotated[
        int | None, typer.Option(min=0, metavar="SECONDS", help="In place of the deployment's; 0: none.")
    ] = None,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Read the secret from stdin in place of making one.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Add a client. A confidential one's secret is made here and shown once."""
    if public and secret_stdin:
        output.fail("A public client has no secret: choose one of --public and --secret-stdin.")
    made = None if public or secret_stdin else store.new_secret()
    new = store.NewClient(
        client_id=client_id,
        name=name or client_id,
        secret=_given_secret() if secret_stdin else made,
        grant_types=given.distinct(grant),
        first_party=first_party,
        scopes=given.distinct(scope),
        default_scopes=given.distinct(default_scope),
        resources=given.distinct(resource),
        default_resources=given.distinct(default_resource),
        introspect_any=introspect_any,
        refresh_grace=None if refresh_grace is None else timedelta(seconds=refresh_grace),
    )

    async def work(settings: Settings, database: Database) -> tuple[dict[str, Any], list[str]]:
        if new.refresh_grace is not None and new.refresh_grace >= settings.refresh_token_idle:
            output.fail(f"--refresh-grace must be shorter than {PREFIX}REFRESH_TOKEN_IDLE")
        async with database.transaction() as db:
            await registration.add_client(db, new)
            row = await store.by_id(db, client_id)
            assert row is not None
            return _shown(row), await registration.not_understood(db, new.scopes)

    shown, not_understood = run(work)
    if as_json:
        output.document(shown if made is None else shown | {"client_secret": made})
    elif made is not None:
        typer.echo(made)
    if made is not None:
        output.say("This is the only time that the secret is shown: nobody can look it up later.")
    output.say(f"Added {client_id}.")
    warn_of(not_understood)


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every client."""

    async def work(_: Settings, database: Database) -> list[Row]:
        async with database.connect() as db:
            return await store.listed(db)

    output.rows([_shown(row) for row in run(work)], _COLUMNS, as_json=as_json)


@app.command()
def disable(client_id: ClientId) -> None:
    """Shut a client out: it gets no token, its sessions are over, every token it has is dead."""
    if _change(client_id, administration.disable_client):
        output.say(f"Disabled {client_id}: its sessions are over, its tokens refused.")
    else:
        output.say(f"{client_id} is disabled already.")


@app.command()
def enable(client_id: ClientId) -> None:
    """Let a client get tokens again. What was made before stays dead."""
    done = _change(client_id, administration.enable_client)
    output.say(f"{client_id} may ask for tokens again." if done else f"{client_id} is enabled already.")


def warn_of(scopes: list[str]) -> None:
    """Tell of scopes that mean nothing to anybody yet."""
    if scopes:
        output.say(
            f"Warning: no resource understands {' '.join(scopes)}, so nobody is granted that. "
            "To add a resource: sealwright resources add"
        )


def _given_secret() -> str:
    secret = asking.line()
    try:
        rules.check_secret(secret)
    except rules.NotAllowed as error:
        output.fail(str(error))
    return secret


def _change(client_id: str, change: Callable[[Revocations, str, timedelta], Awaitable[bool]]) -> bool:
    async def work(settings: Settings, database: Database, revocations: Revocations) -> bool:
        await given.client(database, client_id)
        return await change(revocations, client_id, settings.revocation_lifetime)

    return run_revoking(work)


def _shown(row: Row) -> dict[str, Any]:
    grace: timedelta | None = row["refresh_grace"]
    kept = ("name", "first_party", "grant_types", "scopes", "default_scopes", "resources")
    return {
        "client_id": row["id"],
        "public": row["secret_sha256"] is None,
        **{name: row[name] for name in kept},
        "default_resources": row["default_resources"],
        "introspect_any": row["introspect_any"],
        "refresh_grace": None if grace is None else grace.total_seconds(),
        "disabled": row["disabled_at"] is not None,
        "created_at": row["created_at"],
    }
