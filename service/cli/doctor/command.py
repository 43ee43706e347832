"""The command: all parts at once, one line a check."""

import asyncio
from dataclasses import asdict
from typing import Annotated

import typer
from rich.console import Console

from service.cli import output
from service.cli.doctor import issuer, keys, postgres, redis, settings
from service.cli.doctor.checks import Check, collected

_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def doctor(
    *,
    url: Annotated[
        str | None,
        typer.Option(metavar="URL", help="An address of the service that programs inside use, too."),
    ] = None,
    as_json: output.Json = False,
) -> None:
    """Look at settings, Postgres, Redis, keys, clocks and the issuer; say what to do about what is wrong.

    The exit code is 1 if something has to be done.
    """
    checks = asyncio.run(_all(url))
    well = not any(check.state == "fail" for check in checks)
    if as_json:
        output.document({"well": well, "checks": [asdict(check) for check in checks]})
    else:
        _show(checks)
    if not well:
        raise typer.Exit(1)


async def _all(url: str | None) -> list[Check]:
    parts = {
        "settings": settings.look(),
        "postgres": postgres.look(),
        "redis": redis.look(),
        "keys": keys.look(),
        "issuer": issuer.look(url),
    }
    found = await asyncio.gather(*(collected(name, checks) for name, checks in parts.items()))
    return [check for checks in found for check in checks]


def _show(checks: list[Check]) -> None:
    console = Console(highlight=False, soft_wrap=True)
    for check in checks:
        console.print(f"{check.state:<5}", style=_STYLES[check.state], end="")
        console.print(output.plain_text(f"{check.name:<12}{check.says}"))
        if check.do is not None:
            console.print(output.plain_text(f"{'':<17}{check.do}"), style="dim")
