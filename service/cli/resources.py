"""`sealwright resources`: the services that accept access tokens."""

from typing import Annotated

import typer

from service.account import registration
from service.cli import apply, given, output
from service.cli.connect import run
from service.clients import store
from service.database import Database, Row
from service.settings import Settings

app = typer.Typer(help="Add and list resources: the services that accept tokens.", no_args_is_help=True)
app.command(name="apply")(apply.resources)

_COLUMNS = ("uri", "scopes", "client_id", "created_at")


@app.command()
def add(
    uri: Annotated[str, typer.Argument(help="An absolute URI: the `aud` of its tokens.")],
    *,
    scope: Annotated[list[str] | None, typer.Option(help="A scope that it understands; repeat it.")] = None,
    client: Annotated[
        str | None, typer.Option(metavar="CLIENT_ID", help="The client that it introspects as.")
    ] = None,
) -> None:
    """Add a resource."""

    async def work(settings: Settings, database: Database) -> None:
        async with database.transaction() as db:
            await registration.add_resource(
                db, uri=uri, scopes=given.distinct(scope), client_id=client, issuer=settings.issuer
            )

    run(work)
    output.say(f"Added {uri}.")


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every resource."""

    async def work(_: Settings, database: Database) -> list[Row]:
        async with database.connect() as db:
            return await store.resources_listed(db)

    output.rows([dict(row) for row in run(work)], _COLUMNS, as_json=as_json)
