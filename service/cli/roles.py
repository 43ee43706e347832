"""`sealwright roles`: the scopes that users may be granted."""

from typing import Annotated

import typer

from service.account import registration
from service.cli import apply, given, output
from service.cli.connect import run
from service.database import Database
from service.settings import Settings
from service.users import roles

app = typer.Typer(
    help="Add and list roles. To give them to a user: sealwright users roles", no_args_is_help=True
)
app.command(name="apply")(apply.roles)

_COLUMNS = ("name", "scopes")


@app.command()
def add(
    name: str,
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="A scope that its users may be granted; repeat it.")
    ] = None,
) -> None:
    """Add a role."""
    scopes = given.distinct(scope)

    async def work(_: Settings, database: Database) -> list[str]:
        async with database.transaction() as db:
            await registration.add_role(db, name=name, scopes=scopes)
            return await registration.not_understood(db, scopes)

    not_understood = run(work)
    output.say(f"Added {name}.")
    output.warn_of(not_understood)


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every role."""

    async def work(_: Settings, database: Database) -> roles.Roles:
        async with database.connect() as db:
            return await roles.load(db)

    items = [{"name": name, "scopes": sorted(scopes)} for name, scopes in run(work).items()]
    output.rows(items, _COLUMNS, as_json=as_json)
