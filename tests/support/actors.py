"""Users and clients of a test's own: no test meets another's. Fixture `actors`; from code without an event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar
from uuid import UUID

from service.account import administration
from service.catalog import changed
from service.cli import demo
from service.cli.connect import opened
from service.clients import store as clients
from service.database import Connection
from service.revocation import Revocations
from service.users import roles
from service.users import store as users
from service.users.passwords import Passwords
from tests.support.client import unique
from tests.support.deployment import Deployment

T = TypeVar("T")

PASSWORD = "correct horse battery staple"

READER = "reader"
"""A role that carries `orders:read` alone; in every deployment of the tests from its start."""

VISITOR = "visitor"
"""Likewise; a role that carries no scope."""


@dataclass(frozen=True)
class Person:
    """A user that signs in with `PASSWORD`."""

    id: UUID
    username: str


@dataclass(frozen=True)
class Program:
    """A client; public without a secret."""

    id: str
    secret: str | None

    @property
    def basic(self) -> tuple[str, str]:
        """For `auth=`."""
        assert self.secret is not None
        return self.id, self.secret

    @property
    def form(self) -> dict[str, str]:
        """For `data=`."""
        return {"client_id": self.id} | ({"client_secret": self.secret} if self.secret else {})


class Actors:
    """Makes and changes them, as an operator's commands do."""

    def __init__(self, deployment: Deployment) -> None:
        self._deployment = deployment

    def user(self, *role_names: str) -> Person:
        """A new user; without role names, an editor."""
        username = unique("user")

        async def add(db: Connection) -> UUID:
            return await users.add(
                db,
                username=username,
                email=f"{username}@example.com",
                password_hash=await self._hashed(),
                roles=role_names or (demo.ALICE.role,),
            )

        return Person(self._in_transaction(add), username)

    def crowd(self, count: int) -> list[str]:
        """The usernames of so many new users, who have the same hash: to make one for each would take long."""
        prefix = unique("user")
        usernames = [f"{prefix}-{number}" for number in range(count)]

        async def add(db: Connection) -> None:
            password_hash = await self._hashed()
            for username in usernames:
                await users.add(
                    db,
                    username=username,
                    email=None,
                    password_hash=password_hash,
                    roles=(demo.ALICE.role,),
                )

        self._in_transaction(add)
        return usernames

    def client(
        self,
        *,
        confidential: bool = True,
        grant_types: Sequence[str] = ("password", "client_credentials", "refresh_token"),
        first_party: bool = True,
        scopes: Sequence[str] = demo.RESOURCE_SCOPES,
        default_scopes: Sequence[str] | None = None,
        resources: Sequence[str] = (demo.RESOURCE,),
        default_resources: Sequence[str] | None = None,
        introspect_any: bool = False,
        grace: timedelta | None = None,
        secret: str | None = None,
        serves: Sequence[str] = (),
        **more: Any,
    ) -> Program:
        """A new client, with the demo's scopes and resource; a public one cannot use client_credentials.

        `more` is whatever else a `NewClient` has; one with keys has no secret.

        `serves` are new resources that it introspects for; they understand the demo's scopes.
        """
        client_id = unique("client")
        has_keys = not more.keys().isdisjoint({"jwks", "jwks_uri"})
        secret = (secret or clients.new_secret()) if confidential and not has_keys else None
        kinds = [kind for kind in grant_types if confidential or kind != "client_credentials"]

        async def add(db: Connection) -> None:
            new = clients.NewClient(
                client_id=client_id,
                name="A test's own",
                secret=secret,
                grant_types=[kind for kind in kinds if first_party or kind != "password"],
                first_party=first_party,
                scopes=scopes,
                default_scopes=scopes if default_scopes is None else default_scopes,
                resources=resources,
                default_resources=resources if default_resources is None else default_resources,
                introspect_any=introspect_any,
                refresh_grace=grace,
                **more,
            )
            await clients.add(db, new)
            for uri in serves:
                await clients.add_resource(db, uri=uri, scopes=demo.RESOURCE_SCOPES, client_id=client_id)
            await changed(db)

        self._in_transaction(add)
        return Program(client_id, secret)

    def disable_user(self, user: Person) -> None:
        """Shut a user out."""
        self._operate(lambda r: administration.disable_user(r, user.id, self._lifetime))

    def set_roles(self, user: Person, *role_names: str) -> None:
        """Give a user other roles."""
        self._operate(lambda r: administration.set_roles(r, user.id, role_names, self._lifetime))

    def disable_client(self, client: Program) -> None:
        """Shut a client out."""
        self._operate(lambda r: administration.disable_client(r, client.id, self._lifetime))

    async def _hashed(self) -> str:
        passwords = Passwords(self._deployment.settings)
        try:
            return await passwords.hash(PASSWORD)
        finally:
            passwords.close()

    @property
    def _lifetime(self) -> timedelta:
        return self._deployment.settings.revocation_lifetime

    def _operate(self, work: Callable[[Revocations], Awaitable[T]]) -> T:
        async def main() -> T:
            async with self._deployment.operator() as (_, revocations):
                return await work(revocations)

        return asyncio.run(main())

    def _in_transaction(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        async def main() -> T:
            async with opened(self._deployment.settings) as database, database.transaction() as db:
                return await work(db)

        return asyncio.run(main())


def add_test_roles(deployment: Deployment) -> None:
    """Add them before the servers start, because a running one takes a moment to hear of a new role."""

    async def main() -> None:
        async with opened(deployment.settings) as database, database.transaction() as db:
            await roles.add(db, name=READER, scopes=["orders:read"])
            await roles.add(db, name=VISITOR, scopes=[])
            await changed(db)

    asyncio.run(main())
