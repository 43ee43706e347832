"""`sealwright clients`: the programs that ask for tokens."""

import json
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from service.account import administration, registration
from service.cli import apply, given, output
from service.cli import secrets as secret_commands
from service.cli.connect import run
from service.cli.revoking import run_revoking
from service.clients import secrets, store
from service.database import Database, Row
from service.revocation import Revocations
from service.settings import Settings

app = typer.Typer(
    help="Add, apply, disable and list clients, and change their secrets.", no_args_is_help=True
)
app.add_typer(secret_commands.app, name="secret")
app.command(name="apply")(apply.clients)

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
    access_token_lifetime: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="In place of the deployment's.")
    ] = None,
    refresh_token_idle: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="In place of the deployment's, if shorter.")
    ] = None,
    session_lifetime: Annotated[
        int | None, typer.Option(min=1, metavar="SECONDS", help="In place of the deployment's, if shorter.")
    ] = None,
    jwks: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Its public keys, a JWKS: it proves itself by private_key_jwt."),
    ] = None,
    jwks_uri: Annotated[
        str | None, typer.Option(metavar="URL", help="Where it publishes its keys, in place of --jwks.")
    ] = None,
    origin: Annotated[
        _Several,
        typer.Option(help="Where it runs in browsers, e.g. https://app.example.com (CORS); repeat it."),
    ] = None,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Read the secret from stdin in place of making one.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Add a client. Unless it has keys, a confidential one's secret is made here and shown once."""
    if public and (jwks or jwks_uri):
        output.fail("A public client has no keys: choose one of --public and --jwks or --jwks-uri.")
    if public and secret_stdin:
        output.fail("A public client has no secret: choose one of --public and --secret-stdin.")
    made = None if public or secret_stdin or jwks or jwks_uri else store.new_secret()
    new = store.NewClient(
        client_id=client_id,
        name=name or client_id,
        secret=given.secret() if secret_stdin else made,
        grant_types=given.distinct(grant),
        first_party=first_party,
        scopes=given.distinct(scope),
        default_scopes=given.distinct(default_scope),
        resources=given.distinct(resource),
        default_resources=given.distinct(default_resource),
        introspect_any=introspect_any,
        refresh_grace=_seconds(refresh_grace),
        access_token_lifetime=_seconds(access_token_lifetime),
        refresh_token_idle=_seconds(refresh_token_idle),
        session_lifetime=_seconds(session_lifetime),
        jwks=None if jwks is None else given.text_file(jwks),
        jwks_uri=jwks_uri,
        origins=given.distinct(origin),
    )

    async def work(settings: Settings, database: Database) -> tuple[dict[str, Any], list[str]]:
        async with database.transaction() as db:
            await registration.add_client(db, new, settings)
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
    output.warn_of(not_understood)


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every client."""

    async def work(_: Settings, database: Database) -> list[Row]:
        async with database.connect() as db:
            return await store.listed(db)

    output.rows([_shown(row) for row in run(work)], _COLUMNS, as_json=as_json)


@app.command()
def show(client_id: ClientId, *, as_json: output.Json = False) -> None:
    """Show all that is set of one client."""

    async def work(_: Settings, database: Database) -> Row:
        return await given.client(database, client_id)

    row = run(work)
    shown = _shown(row)
    if not as_json:
        shown["secrets"] = [secret.fingerprint for secret in secrets.of(row)]
        shown["jwks"] = shown["jwks"] and [key["kid"] for key in shown["jwks"]["keys"]]
    output.details(shown, as_json=as_json)


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


def _change(client_id: str, change: Callable[[Revocations, str, timedelta], Awaitable[bool]]) -> bool:
    async def work(settings: Settings, database: Database, revocations: Revocations) -> bool:
        await given.client(database, client_id)
        return await change(revocations, client_id, settings.revocation_lifetime)

    return run_revoking(work)


def _seconds(number: int | None) -> timedelta | None:
    return None if number is None else timedelta(seconds=number)


def _shown(row: Row) -> dict[str, Any]:
    return {
        "client_id": row["id"],
        "public": row["secret_sha256"] is None,
        **{name: _plain(name, row[name]) for name in store.SETTABLE},
        "secrets": [_secret(secret) for secret in secrets.of(row)],
        "disabled": row["disabled_at"] is not None,
        "created_at": row["created_at"],
    }


def _plain(name: str, value: Any) -> Any:
    if isinstance(value, timedelta):
        return value.total_seconds()
    return json.loads(value) if name == "jwks" and value is not None else value


def _secret(secret: secrets.Secret) -> dict[str, Any]:
    return {"fingerprint": secret.fingerprint, "made_at": secret.made_at}
