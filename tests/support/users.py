"""Users of a test's own."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from service.cli.connect import opened
from service.users import store
from service.users.passwords import Passwords
from tests.support.client import unique
from tests.support.deployment import Deployment


@dataclass(frozen=True)
class NewUser:
    """A user and the password that nobody else knows."""

    id: UUID
    name: str
    email: str
    password: str


def new_user(
    deployment: Deployment, *, roles: Sequence[str] = (), password: str = "correct horse"
) -> NewUser:
    """Add a user whose name no other test uses."""
    name = unique("user")
    email = f"{name}@example.com"

    async def add() -> UUID:
        passwords = Passwords(deployment.settings)
        try:
            hashed = await passwords.hash(password)
        finally:
            passwords.close()
        async with opened(deployment.settings) as database, database.connect() as db:
            return await store.add(db, username=name, email=email, password_hash=hashed, roles=roles)

    return NewUser(asyncio.run(add()), name, email, password)
