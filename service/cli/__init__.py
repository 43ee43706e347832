"""The `sealwright` command: run the service and look after its keys, users, clients and sessions."""

import typer

from service.cli import dev, keys, serve

app = typer.Typer(
    name="sealwright",
    help="Sealwright: issues, rotates, revokes and publishes tokens.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

app.command()(dev.dev)
app.command()(serve.serve)
app.command()(serve.migrate)
app.command()(serve.settings)
app.add_typer(keys.app, name="keys")


def main() -> None:
    """Run the command line."""
    app()
