"""`sealwright keys compromise`: a key that somebody else may have."""

from typing import Annotated

import typer

from service import schema
from service.cli import asking, output
from service.cli.revoking import revoking
from service.cli.ring import Kid, Ring, meant, run
from service.database import Database
from service.errors import Unavailable
from service.keeping import compromise as compromising
from service.settings import Settings
from service.signing import changes, rules


def compromise(kid: Kid, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Somebody else may have this key: believe nothing that it signed any more, from this moment on.

    Done again, it finishes what was interrupted.
    """

    async def work(ring: Ring) -> None:
        settings, database = ring.deployed()
        entry = meant(kid, await ring.entries())
        if not yes:
            asking.consent(
                f"Kill everything that {entry.kid} signed? "
                "Users whose session it signed last have to sign in again",
                option="--yes",
            )
        change = await ring.store.change(
            changes.compromise(entry.kid, ring.settings.signing_algorithm, ring.now)
        )
        output.say(
            f"{entry.kid} is dropped, from the JWKS too. Others drop it when their copy of it is over."
        )
        signer = rules.active(change.entries, ring.now)
        if signer is not None and rules.stops_at(change.entries, entry) == signer.signs_from:
            output.say(
                f"{signer.kid} signs from now on; a verifier that does not know it has to fetch the JWKS."
            )
        await _follow_up(ring, settings, database, entry.kid)

    run(work)


async def _follow_up(ring: Ring, settings: Settings, database: Database, kid: str) -> None:
    try:
        await schema.require(database)
        async with revoking(settings, database, follow=False) as revocations:
            await compromising.declare(revocations, kid, ring.policy)
            output.say("Every token that it signed is revoked.")
            count, late = await compromising.until_dropped(database, settings, kid)
            for replica in late:
                output.say(
                    f"Worker {replica.pid} of {replica.host} still takes it: see its /readyz, restart it."
                )
            output.say(f"{count - len(late)} running workers have dropped it.")
            ended = await compromising.finish(revocations, ring.store, settings, kid)
            output.say(f"{ended} sessions have ended: their users have to sign in again.")
    except Unavailable as error:
        output.fail(
            f"Postgres cannot be reached ({error.detail}). The services have dropped the key; the rest is to be done: "
            f"run this again, or a running replica does it once Postgres is back."
        )
