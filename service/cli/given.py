"""What commands are given: the user or client that a name means, and options that repeat."""

import re
from datetime import timedelta
from typing import TypeVar

from service.cli import output
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


def distinct(items: list[T] | None) -> list[T]:
    """Return what an option was given, each once."""
    return list(dict.fromkeys(items or ()))
