"""How commands speak: tables for people, JSON for programs, one line for an error."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]

_UNBOUNDED = 100_000  # columns

err = Console(stderr=True, highlight=False, soft_wrap=True)


def fail(message: str, code: int = 1) -> NoReturn:
    """End the command with one plain line (or a few) on stderr."""
    err.print(message, style="red", markup=False)
    raise typer.Exit(code)


def say(message: str) -> None:
    """Tell a person how it went; on stderr, so that stdout stays what was asked for."""
    err.print(message, markup=False)


def warn_of(scopes: Sequence[str]) -> None:
    """Tell of scopes that mean nothing to anybody yet."""
    if scopes:
        say(
            f"Warning: no resource understands {' '.join(scopes)}, so nobody is granted that. "
            "To add a resource: sealwright resources add"
        )


def rows(items: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Print rows as a table of `columns`, or whole as a JSON array."""
    if as_json:
        document(list(items))
        return
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, column in enumerate(columns):
        # What names the row is copied into the next command, so it stays whole.
        table.add_column(column.replace("_", " "), overflow="fold", no_wrap=place == 0)
    for item in items:
        table.add_row(*(plain_text(_cell(item.get(column))) for column in columns))
    # In a pipe a row is a line, however long.
    Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED).print(table)


def details(item: Mapping[str, Any], *, as_json: bool) -> None:
    """Print one item, a line for each of its members, or whole as a JSON object."""
    if as_json:
        document(item)
        return
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in item.items():
        table.add_row(name.replace("_", " "), plain_text(_cell(value)))
    Console(highlight=False, width=None if sys.stdout.isatty() else _UNBOUNDED).print(table)


def document(value: object) -> None:
    """Print one JSON value on stdout, in ASCII: whatever is in it commands no terminal and fits any encoding."""
    sys.stdout.write(json.dumps(value, indent=2, default=plain) + "\n")


def line(text: str) -> None:
    """Print one line at once, for whoever is waiting for it."""
    sys.stdout.write(plain_text(text).plain + "\n")
    sys.stdout.flush()


def plain_text(value: str) -> Text:
    """Return text as it is to be shown: no markup in it counts, and what would command a terminal is spelled out.

    A user agent, or a claim of a token that nobody has verified, is a stranger's.
    """
    return Text("".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in value))


def _cell(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%SZ")
    if isinstance(value, (list, tuple)):
        return " ".join(map(str, value)) or "-"
    return str(value)


def plain(value: object) -> object:
    """Return what JSON has no form for as text, a time in ISO 8601."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    return str(value)
