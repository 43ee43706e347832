"""`sealwright unblock`: let somebody in at once who would have to wait."""

import ipaddress
from typing import Annotated

import typer
from redis import RedisError

from service import audit
from service.cli import output
from service.cli.connect import run
from service.database import Database
from service.guessing.lifting import lift
from service.settings import PREFIX, Settings
from service.users import store


def unblock(
    *,
    user: Annotated[
        str | None, typer.Option(metavar="NAME", help="The username or email, as it was typed.")
    ] = None,
    client: Annotated[str | None, typer.Option(metavar="CLIENT_ID", help="Of a client instead.")] = None,
    address: Annotated[
        str | None, typer.Option(help="What failed from this address; alone, whatever it was.")
    ] = None,
) -> None:
    """Forget what has failed, so that nobody has to wait for it: of a user, a client or an address.

    What a worker has counted for itself while Redis was away stays.
    """
    if user is not None and client is not None:
        output.fail("Give --user or --client; run it twice for both.")
    if (user, client, address) == (None, None, None):
        output.fail("Say whom to let in: --user, --client or --address.")
    if address is not None:
        try:
            ipaddress.ip_address(address)
        except ValueError:
            output.fail(f"{address!r} is no address; see: sealwright audit --event limit.reached")

    async def work(settings: Settings, database: Database) -> int:
        async with database.transaction() as db:
            found = await store.by_name(db, user) if user is not None else None
            names = {store.normalised(user)} if user is not None else set()
            if found is not None:
                names |= {found.username} | ({found.email} if found.email else set())
            lifted = await lift(settings, usernames=names, client_id=client, address=address)
            await audit.record(
                db,
                "limit.lifted",
                user_id=found.id if found else None,
                client_id=client,
                address=address,
                times=max(lifted, 1),
            )
        return lifted

    try:
        lifted = run(work)
    except (RedisError, OSError, TimeoutError) as error:
        output.fail(f"Redis cannot be reached ({type(error).__name__}); check {PREFIX}REDIS_URL")
    output.say(f"Forgot {lifted} {'count' if lifted == 1 else 'counts'} of failures.")
