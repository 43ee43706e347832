"""The `sealwright` command: run the service and look after its keys, users, clients and sessions."""

import sys

import typer

from service.cli import (
    apply,
    audit,
    clients,
    dev,
    doctor,
    importing,
    keys,
    resources,
    restored,
    roles,
    seed,
    serve,
    sessions,
    token,
    users,
)

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
app.command()(audit.audit)
app.command(name="demo")(seed.add)
app.command()(doctor.doctor)
for group, command in ((clients, apply.clients), (resources, apply.resources), (roles, apply.roles)):
    group.app.command(name="apply")(command)
app.command()(apply.apply)
app.command()(restored.restored)
app.add_typer(keys.app, name="keys")
users.app.command("import")(importing.import_)
app.add_typer(users.app, name="users")
app.add_typer(roles.app, name="roles")
app.add_typer(clients.app, name="clients")
app.add_typer(resources.app, name="resources")
app.add_typer(sessions.app, name="sessions")
app.add_typer(token.app, name="token")


def main() -> None:
    """Run the command line."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        sys.exit("An argument is not UTF-8 text.")
    app()
