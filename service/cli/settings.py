"""`sealwright settings`."""

from datetime import timedelta

from rich.console import Console
from rich.markup import escape

from service.cli import output
from service.settings import PREFIX, Settings


def settings(*, as_json: output.Json = False) -> None:
    """Print every setting: its variable, its default and what it is for."""
    knobs = [
        {
            "variable": PREFIX + name.upper(),
            "default": None if field.is_required() else plain(field.default),
            "required": field.is_required(),
            "description": field.description,
        }
        for name, field in Settings.model_fields.items()
    ]
    if as_json:
        output.document(knobs)
        return
    console = Console(highlight=False)
    for knob in knobs:
        default = "required" if knob["required"] else f"default {knob['default']}"
        console.print(f"[bold]{knob['variable']}[/]  [dim]{escape(default)}[/]")
        console.print(f"  {escape(str(knob['description']))}")


def plain(value: object) -> object:
    """Return a default as it is written in a variable: durations in seconds, lists with commas."""
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return value if isinstance(value, int | str) else str(value)
