"""`sealwright token`: look into a token, and find out what has become of it."""

import asyncio
import json
import time
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from service.cli import asking, decoding, output
from service.cli.decoding import Finding, Findings
from service.cli.words import ago, moment
from service.tokens import unverified
from service.tokens.unverified import Unverified

app = typer.Typer(help="Look into tokens.", no_args_is_help=True)

_KINDS = {decoding.ACCESS: "access", decoding.REFRESH: "refresh"}
_END_OF_TIME = 253_402_300_799  # of year 9999, the last that a datetime knows


@app.command()
def decode(
    source: Annotated[
        str | None, typer.Argument(metavar="[-]", help="-: from stdin. Never the token itself.")
    ] = None,
    *,
    as_json: output.Json = False,
) -> None:
    """Show a token's header and claims, whether its signature holds, and whether it is revoked.

    The token is read from stdin, or pasted unseen. The exit code is 1 if it is none of this deployment's.
    """
    if source not in {None, "-"}:
        output.fail(
            "A token is a secret, and the shell keeps its arguments: pipe it in, or paste it when asked."
        )
    try:
        token = unverified.read(asking.token(from_stdin=source == "-"))
    except unverified.NotAToken as error:
        output.fail(str(error))
    findings = asyncio.run(decoding.find_out(token))
    if as_json:
        output.document(_document(token, findings))
    else:
        _show(token, findings)
    if findings.signature.good is False:
        raise typer.Exit(1)


def _document(token: Unverified, findings: Findings) -> dict[str, Any]:
    return {
        "kind": _KINDS.get(token.typ),
        "header": token.header,
        "claims": token.unverified_claims,
        "times": _times(token),
        **asdict(findings),
        "active": findings.good,
    }


def _show(token: Unverified, findings: Findings) -> None:
    kind = _KINDS.get(token.typ)
    console = Console(highlight=False)
    console.print(f"{kind.capitalize()} token" if kind else "A JWT of another kind", style="bold")
    times = _times(token)
    table = Table.grid(padding=(0, 2))
    table.add_column(style="cyan")
    table.add_column(overflow="fold")
    for name, value in [*token.header.items(), *token.unverified_claims.items()]:
        said = f"{_plain(value)}  {times[name]}" if name in times else _plain(value)
        table.add_row(output.plain_text(name), output.plain_text(said))
    table.add_row()
    for name, finding in (
        ("signature", findings.signature),
        ("validity", findings.validity),
        ("standing", findings.standing),
    ):
        table.add_row(name, output.plain_text(finding.says), style=_style(finding))
    console.print(table)


def _style(finding: Finding) -> str:
    return {True: "green", False: "red", None: "yellow"}[finding.good]


def _times(token: Unverified) -> dict[str, str]:
    """Say each time of the token in words."""
    now = time.time()
    said = {}
    for name in ("iat", "nbf", "exp", "auth_time"):
        at = token.unverified_claims.get(name)
        if isinstance(at, int | float) and 0 <= at <= _END_OF_TIME:
            verb = {
                "iat": "was made" if at <= now else "will be made",
                "nbf": "good from",
                "exp": "expired" if at <= now else "expires",
                "auth_time": "its user signed in",
            }[name]
            said[name] = f"{moment(at)}, {verb} {ago(at, now)}"
    return said


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
