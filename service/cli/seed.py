"""Puts the demo into a development database. What is there already is left as it is."""

from service.catalog import changed
from service.cli import demo, output
from service.cli.connect import opened, run
from service.clients import store as clients
from service.database import Connection, Database
from service.settings import PREFIX, Settings
from service.users import roles
from service.users import store as users
from service.users.passwords import Passwords


def add() -> None:
    """Add the demo's users and clients, whose passwords everybody knows. In development mode only."""

    async def work(settings: Settings, _: Database) -> None:
        if not settings.development:
            output.fail(
                "The demo's passwords are known to everybody: it is for development mode only "
                f"({PREFIX}ENVIRONMENT=development)."
            )
        await seed(settings)

    run(work)
    output.say(f"{demo.ALICE.username} can sign in through {demo.APP.client_id}; see README.md.")


async def seed(settings: Settings) -> None:
    """Seed the demo.

    Raises:
        RuntimeError: outside of development mode; its passwords are known to everybody.
    """
    if not settings.development:
        raise RuntimeError("the demo is for development mode only: everybody knows its passwords")
    async with opened(settings) as database:
        async with database.connect() as db:
            missing = [user for user in demo.USERS if await users.by_name(db, user.username) is None]
        # Before the transaction: a hash takes its time.
        hashes = await _hashes(settings, len(missing))
        async with database.transaction() as db:
            await _clients(db)
            await _roles_and_resource(db)
            for user, password_hash in zip(missing, hashes, strict=True):
                await users.add(
                    db,
                    username=user.username,
                    email=user.email,
                    password_hash=password_hash,
                    roles=[user.role],
                )
            await changed(db)


async def _hashes(settings: Settings, count: int) -> list[str]:
    passwords = Passwords(settings)
    try:
        return [await passwords.hash(demo.PASSWORD) for _ in range(count)]
    finally:
        passwords.close()


async def _roles_and_resource(db: Connection) -> None:
    known = await roles.load(db)
    for name, scopes in demo.ROLES.items():
        if name not in known:
            await roles.add(db, name=name, scopes=scopes)
    if demo.RESOURCE not in {row["uri"] for row in await clients.resources_listed(db)}:
        await clients.add_resource(
            db, uri=demo.RESOURCE, scopes=demo.RESOURCE_SCOPES, client_id=demo.SERVICE.client_id
        )


async def _clients(db: Connection) -> None:
    known = {row["id"] for row in await clients.listed(db)}
    for client in demo.CLIENTS:
        if client.client_id not in known:
            new = clients.NewClient(
                client_id=client.client_id,
                name=client.name,
                secret=client.secret,
                grant_types=client.grant_types,
                first_party=True,
                scopes=demo.RESOURCE_SCOPES,
                default_scopes=demo.RESOURCE_SCOPES,
                resources=[demo.RESOURCE],
                default_resources=[demo.RESOURCE],
            )
            await clients.add(db, new)
