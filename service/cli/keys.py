"""`sealwright keys`: the signing keys. Where they are in files, most of it needs neither Postgres nor Redis."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service import signing
from service.cli import output
from service.cli.compromising import compromise
from service.cli.moving import move, reseal
from service.cli.ring import Kid, Ring, meant, record, run
from service.signing import changes, rules
from service.signing.replicas import Replica

app = typer.Typer(help="Look after the signing keys.", no_args_is_help=True)

_COLUMNS = ("kid", "state", "alg", "created", "signs_from", "stops", "in_jwks_until")


@app.command()
def generate(
    *, if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing if there is a key.")] = False
) -> None:
    """Make a key: the first signs at once, another one is published as the next."""

    async def work(ring: Ring) -> None:
        make = changes.ensure if if_none else changes.generate
        plan = make(ring.settings.signing_algorithm, ring.now)
        entry = (await ring.store.change(plan, begin=True)).entry
        if entry is None:
            output.say("There is a key already.")
        else:
            output.say(_added(entry))

    run(work)


@app.command(name="import")
def import_(
    file: Annotated[Path, typer.Argument(help="An unencrypted PEM private key.")],
) -> None:
    """Add a key that was made elsewhere: as the next one, or the first, which signs at once."""

    async def work(ring: Ring) -> None:
        try:
            pem = await asyncio.to_thread(file.read_bytes)
        except OSError as error:
            output.fail(f"{file} cannot be read ({error.strerror}).")
        plan = changes.bring(pem, ring.settings.signing_algorithm, ring.now)
        entry = (await ring.store.change(plan, begin=True)).entry
        assert entry is not None
        output.say(_added(entry))
        output.say(f"{file} is still there: delete it, or whoever reads it can sign too.")
        await record(ring, "key.imported", entry.kid)

    run(work)


@app.command()
def rotate() -> None:
    """Let the next key sign, made now if there is none, once everybody can know it."""

    async def work(ring: Ring) -> None:
        live = await ring.live()
        plan = changes.rotate(ring.settings.signing_algorithm, ring.policy, ring.now, _publishing(live))
        entry = (await ring.store.change(plan)).entry
        assert entry is not None
        output.say(_begins(entry, ring, live))

    run(work)


@app.command()
def retire(kid: Kid) -> None:
    """Take a key out of service: the next one is removed, the active one rotated away."""

    async def work(ring: Ring) -> None:
        entry = meant(kid, await ring.entries())
        live = await ring.live()
        algorithm = ring.settings.signing_algorithm
        change = await ring.store.change(
            changes.retire(entry.kid, algorithm, ring.policy, ring.now, _publishing(live))
        )
        if change.entry is None:
            output.say(f"{entry.kid} is gone. It never signed.")
            return
        stop = change.entry.signs_from
        if stop is None or stop > ring.now:
            output.say(f"{_begins(change.entry, ring, live)} Then {entry.kid} retires.")
        else:
            output.say(f"{entry.kid} has retired: it stopped signing at {_at(stop)}.")
        end = rules.published_until(change.entries, entry, ring.policy)
        if end is not None:
            output.say(
                f"It {'stays in the JWKS until' if end > ring.now else 'left the JWKS at'} {_at(end)}."
            )

    run(work)


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every key and what it does."""

    async def work(ring: Ring) -> None:
        entries = await ring.entries()
        output.rows([_row(entries, e, ring) for e in entries], _COLUMNS, as_json=as_json)
        for path in await ring.store.strays(entries):
            output.say(f"{path} belongs to no key of the ring. Delete it unless you know what it is for.")

    run(work)


app.command()(compromise)
app.command()(move)
app.command()(reseal)


def _publishing(live: Sequence[Replica] | None) -> list[frozenset[str]] | None:
    return None if live is None else [replica.kids for replica in live]


def _row(entries: rules.Entries, entry: signing.Entry, ring: Ring) -> dict[str, Any]:
    return {
        "kid": entry.kid,
        "state": rules.state(entries, entry, ring.now),
        "alg": entry.key.alg,
        "created": entry.created_at,
        "signs_from": entry.signs_from,
        "stops": rules.stops_at(entries, entry),
        "in_jwks_until": rules.published_until(entries, entry, ring.policy),
    }


def _added(entry: signing.Entry) -> str:
    if entry.signs_from is not None:
        return f"{entry.kid} signs from now on."
    return f"{entry.kid} is the next key. To let it sign: sealwright keys rotate"


def _begins(entry: signing.Entry, ring: Ring, live: Sequence[Replica] | None) -> str:
    if entry.signs_from is not None:
        wait = max(0, round((entry.signs_from - ring.now).total_seconds()))
        return f"{entry.kid} signs from {_at(entry.signs_from)}, in {wait} s."
    soonest = entry.created_at + ring.policy.publication
    said = (
        f"{entry.kid} is published. It signs once every running replica publishes it, after {_at(soonest)}."
    )
    if live is None:
        return f"{said} Postgres cannot be reached; a replica sees to it once it can."
    if any(replica.keeps for replica in live):
        return said
    return f"{said} No replica can change the ring: run this again then."


def _at(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
