"""`sealwright apply`: resources, roles and clients from a file under version control."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from service.account import applying, declared, registration
from service.account.applying import Applied, Change, Part
from service.cli import given, output
from service.cli.revoking import run_revoking
from service.clients.rules import NotAllowed
from service.database import Database
from service.revocation import Revocations
from service.settings import Settings

File = Annotated[Path, typer.Argument(metavar="FILE", help="YAML; - is stdin.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]
ExitCode = Annotated[
    bool, typer.Option("--exit-code", help="End with 3 if something changes, or would; for CI.")
]
Prune = Annotated[
    bool,
    typer.Option(
        "--prune",
        help="Disable clients, and remove resources and roles, that a part of the file does not name.",
    ),
]

_CHANGED = 3
_SIGNS = {"add": "+", "change": "~", "remove": "-", "disable": "-", "enable": "+"}


def _command(parts: Sequence[Part], says: str) -> Callable[..., None]:
    def command(
        file: File,
        *,
        dry_run: DryRun = False,
        prune: Prune = False,
        exit_code: ExitCode = False,
        as_json: output.Json = False,
    ) -> None:
        _apply(parts, file, dry_run=dry_run, prune=prune, exit_code=exit_code, as_json=as_json)

    command.__doc__ = says
    return command


def _of(part: Part) -> Callable[..., None]:
    return _command(
        [part], f"Make the {part} what the {part}: of a file says; leave the rest of the file alone."
    )


apply = _command(
    applying.PARTS,
    "Make resources, roles and clients what a file says. A second time there is nothing to do.",
)
clients, resources, roles = _of("clients"), _of("resources"), _of("roles")


def _apply(
    parts: Sequence[Part],
    file: Path,
    *,
    dry_run: bool,
    prune: bool,
    exit_code: bool,
    as_json: bool,
) -> None:
    text = given.text_file(file)
    try:
        whole = declared.read(text)
    except NotAllowed as error:
        output.fail(f"{file}: {error}")
    wanted = whole.model_copy(update={part: None for part in applying.PARTS if part not in parts})

    async def work(settings: Settings, _: Database, revocations: Revocations) -> tuple[Applied, list[str]]:
        async with revocations.transaction() as revoking:
            done = await applying.apply(revoking, wanted, settings, prune=prune, dry_run=dry_run)
            scopes = [scope for role in (wanted.roles or {}).values() for scope in role.scopes]
            scopes += [scope for client in (wanted.clients or {}).values() for scope in client.scopes]
            unknown = await registration.not_understood(revoking.db, dict.fromkeys(scopes))
            return done, [] if dry_run else unknown

    done, not_understood = run_revoking(work)
    _tell(done, dry_run=dry_run, as_json=as_json)
    output.warn_of(not_understood)
    if exit_code and done.changes:
        raise typer.Exit(_CHANGED)


def _tell(done: Applied, *, dry_run: bool, as_json: bool) -> None:
    secrets = {} if dry_run else done.made_secrets
    if as_json:
        output.document({"changes": [_as_json(change) for change in done.changes], "secrets": secrets})
    else:
        for change in done.changes:
            output.line(f"{_SIGNS[change.action]} {change.part}.{change.name} ({change.action})")
            for name, (before, after) in change.fields.items():
                output.line(f"    {name}: {_difference(before, after)}")
        for client_id, secret in secrets.items():
            output.line(f"secret of {client_id}: {secret}")
    if secrets:
        output.say("This is the only time that these secrets are shown: nobody can look them up later.")
    if not done.changes:
        output.say("Nothing to do: all is as the file says.")
    elif dry_run:
        output.say(f"{len(done.changes)} changes would be made. Nothing was done.")
    else:
        output.say(f"{len(done.changes)} changes made.")


def _difference(before: Any, after: Any) -> str:
    before, after = _readable(before), _readable(after)
    if isinstance(after, list):
        gone = [f"-{item}" for item in before or () if item not in after]
        new = [f"+{item}" for item in after if item not in (before or ())]
        return " ".join(gone + new)
    return str(after) if before is None else f"{before} -> {'none' if after is None else after}"


def _readable(value: Any) -> Any:
    """Of a JWKS only the names of its keys."""
    if isinstance(value, str) and value.startswith('{"keys"'):
        return [key["kid"] for key in json.loads(value)["keys"]]
    return value


def _as_json(change: Change) -> dict[str, Any]:
    fields = {name: {"before": before, "after": after} for name, (before, after) in change.fields.items()}
    return {"part": change.part, "name": change.name, "action": change.action, "fields": fields}
