"""`sealwright clients secret`: changing a client's secret while the older one still works."""

from typing import Annotated

import typer

from service.account import administration
from service.cli import given, output
from service.cli.connect import run
from service.clients import secrets, store
from service.database import Database, Row
from service.settings import Settings

app = typer.Typer(
    help="Change a client's secret without a break: add the new one, give it to the client, remove the old one.",
    no_args_is_help=True,
)

ClientId = Annotated[str, typer.Argument(metavar="CLIENT_ID")]


@app.command()
def add(
    client_id: ClientId,
    *,
    secret_stdin: Annotated[
        bool, typer.Option("--secret-stdin", help="Read the secret from stdin in place of making one.")
    ] = False,
    as_json: output.Json = False,
) -> None:
    """Give a client another secret, shown once. The one it has goes on."""
    made = given.secret() if secret_stdin else store.new_secret()

    async def work(_: Settings, database: Database) -> secrets.Secret:
        await given.client(database, client_id)
        async with database.transaction() as db:
            return await administration.add_secret(db, client_id, made)

    added = run(work)
    if as_json:
        shown = {} if secret_stdin else {"client_secret": made}
        output.document({"fingerprint": added.fingerprint, "made_at": added.made_at, **shown})
    elif not secret_stdin:
        typer.echo(made)
    if not secret_stdin:
        output.say("This is the only time that the secret is shown: nobody can look it up later.")
    output.say(
        f"Added the secret {added.fingerprint} to {client_id}. When it is in use everywhere, remove the old one:"
    )
    output.say(f"sealwright clients secret list {client_id}")


@app.command(name="list")
def list_(client_id: ClientId, *, as_json: output.Json = False) -> None:
    """Show when a client's secrets were made, the older first; never the secrets."""

    async def work(_: Settings, database: Database) -> Row:
        return await given.client(database, client_id)

    live = secrets.of(run(work))
    items = [{"fingerprint": secret.fingerprint, "made_at": secret.made_at} for secret in live]
    output.rows(items, ("fingerprint", "made_at"), as_json=as_json)


@app.command()
def remove(client_id: ClientId, fingerprint: str) -> None:
    """Take a secret back. What it got stays good until it expires."""

    async def work(_: Settings, database: Database) -> None:
        await given.client(database, client_id)
        async with database.transaction() as db:
            await administration.remove_secret(db, client_id, fingerprint)

    run(work)
    output.say(f"Removed the secret {fingerprint} of {client_id}: it is refused within a second.")
