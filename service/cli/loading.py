"""Commands that are loaded when they are asked for.

Every command pays for what is imported before it runs; none is to wait for what only others need.
"""

from collections.abc import Iterator, Mapping, MutableMapping
from importlib import import_module
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

Command = TyperCommand | TyperGroup


def group(homes: Mapping[str, str]) -> type[TyperGroup]:
    """Return the class of a group whose commands are where `homes` says: name to `module:attribute` of this package."""

    class Group(TyperGroup):
        def __init__(self, **options: Any) -> None:
            super().__init__(**options)
            self.commands = _Commands(homes)

    return Group


class _Commands(MutableMapping[str, Any]):
    """Knows all names from the start, and each command once somebody wants it."""

    def __init__(self, homes: Mapping[str, str]) -> None:
        self._homes = dict(homes)
        self._loaded: dict[str, Any] = {}

    def __getitem__(self, name: str) -> Command:
        if name not in self._loaded:
            self._loaded[name] = _load(name, self._homes[name])
        command: Command = self._loaded[name]
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._homes)

    def __len__(self) -> int:
        return len(self._homes)

    def __setitem__(self, name: str, command: Command) -> None:
        self._homes[name] = ""
        self._loaded[name] = command

    def __delitem__(self, name: str) -> None:
        del self._homes[name]
        self._loaded.pop(name, None)


def _load(name: str, home: str) -> Command:
    module, _, attribute = home.partition(":")
    found = getattr(import_module(f"service.cli.{module}"), attribute)
    around = typer.Typer(pretty_exceptions_enable=False)
    if isinstance(found, typer.Typer):
        around.add_typer(found, name=name)
    else:
        around.command(name=name)(found)
    command = get_group(around).commands[name]
    assert isinstance(command, Command)
    return command
