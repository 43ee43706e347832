"""What commands are given: the user or client that a name means, and options that repeat."""

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

from service.cli import asking, output
from service.clients import rules
from service.clients import store as clients
from service.database import Database, Row
from service.users import store as users
from service.users.store import User

T = TypeVar("T")


async def user(database: Database, name: str) -> User:
    """Return the user of this username or email, or end the command."""
    async with database.connect() as db:
        found = await users.by_name(db, name)
    if found is None:
        output.fail(f"There is no user {name!r}; see: sealwright users list")
    return found


async def client(database: Database, client_id: str) -> Row:
    """Return the client's row, or end the command."""
    async with database.connect() as db:
        found = await clients.by_id(db, client_id)
    if found is None:
        output.fail(f"There is no client {client_id!r}; see: sealwright clients list")
    return found


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def span(text: str) -> timedelta:
    """Return how long `2h` is, or end the command."""
    found = re.fullmatch(r"([0-9]{1,5})([smhd])", text)
    if found is None:
        output.fail(f"{text!r} is no length of time: write 90s, 30m, 2h or 7d.")
    return timedelta(seconds=int(found[1]) * _UNITS[found[2]])


def secret() -> str:
    """Return the client secret on stdin."""
    read = asking.line()
    try:
        rules.check_secret(read)
    except rules.NotAllowed as error:
        output.fail(str(error))
    return read


def text_file(path: Path) -> str:
    """Return what a file holds; `-` is stdin."""
    try:
        return sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        output.fail(f"{path} cannot be read: {getattr(error, 'strerror', None) or 'it is not UTF-8 text'}")


def distinct(items: list[T] | None) -> list[T]:
    """Return what an option was given, each once."""
    return list(dict.fromkeys(items or ()))
