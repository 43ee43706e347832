"""`sealwright keys move` and `reseal`: where the keys are, and what they are sealed with there."""

from typing import Annotated

import typer

from service import schema, signing
from service.cli import output
from service.cli.ring import Ring, record, run
from service.settings import PREFIX
from service.signing import moving
from service.signing.store import StoreName


def move(
    *,
    to: Annotated[StoreName, typer.Option("--to", help="files or postgres.")],
    done: Annotated[
        bool,
        typer.Option(
            "--done", help="Every replica has been restarted: destroy the private keys left behind."
        ),
    ] = False,
) -> None:
    """Move the ring to the other store, while the services run."""

    async def work(ring: Ring) -> None:
        settings, database = ring.deployed()
        await schema.require(database)
        left: StoreName = "files" if to == "postgres" else "postgres"
        source, target = (signing.store_of(settings, database, name) for name in (left, to))
        if done:
            live = await ring.live()
            behind = [replica for replica in live or () if replica.store == left]
            if live is None or behind:
                output.fail(f"{len(behind)} workers still read the ring from {left}: restart them first.")
            gone = await source.empty()
            output.say(f"{gone} private keys in {left} are destroyed.")
            return
        count = await moving.move(source, target)
        await record(ring, "key.moved", f"{count} keys from {left} to {to}")
        output.say(
            f"{count} keys are in {to} now, and changed there alone. Set {PREFIX}KEY_STORE={to}, restart the services "
            f"one after the other, then run: sealwright keys move --to {to} --done"
        )

    run(work)


def reseal() -> None:
    """Seal everything in Postgres with the first of two key-encryption keys."""

    async def work(ring: Ring) -> None:
        if not isinstance(ring.store, signing.PostgresStore):
            output.fail("The keys are in files: nothing is sealed.")
        count = await ring.store.reseal()
        output.say(f"The ring and {count} private keys are sealed with the first key-encryption key.")

    run(work)
