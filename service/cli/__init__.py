"""The `sealwright` command: run the service and look after its keys, users, clients and sessions."""

import sys

import typer

from service.cli.loading import group

_HOMES = {
    "dev": "dev:dev",
    "serve": "serve:serve",
    "migrate": "migrate:migrate",
    "settings": "settings:settings",
    "audit": "audit:audit",
    "demo": "seed:add",
    "doctor": "doctor:doctor",
    "apply": "apply:apply",
    "restored": "restored:restored",
    "keys": "keys:app",
    "users": "users:app",
    "roles": "roles:app",
    "clients": "clients:app",
    "resources": "resources:app",
    "sessions": "sessions:app",
    "token": "token:app",
    "unblock": "unblock:unblock",
}
"""Where each command lives: the module in this package, and what in it."""

app = typer.Typer(
    name="sealwright",
    cls=group(_HOMES),
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.callback()
def sealwright() -> None:
    """Sealwright: issues, rotates, revokes and publishes tokens."""


def main() -> None:
    """Run the command line."""
    try:
        "".join(sys.argv).encode()
    except UnicodeEncodeError:
        sys.exit("An argument is not UTF-8 text.")
    app()
