"""`sealwright keys`: the signing keys. Where they are in files, most of it needs neither Postgres nor Redis."""

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from service import audit, schema, signing
from service.cli import output
from service.cli.connect import acting
from service.cli.revoking import revoking
from service.cli.ring import Ring, opened_ring
from service.errors import Unavailable
from service.keeping import compromise as compromising
from service.settings import PREFIX, SettingsError
from service.signing import changes, moving, rules
from service.signing.replicas import Replica
from service.signing.store import StoreName

app = typer.Typer(help="Look after the signing keys.", no_args_is_help=True)

_COLUMNS = ("kid", "state", "alg", "created", "signs_from", "stops", "in_jwks_until")

Kid = Annotated[
    str, typer.Argument(help="From `sealwright keys list`; its first 8 characters will do.", metavar="KID")
]


def _run(work: Callable[[Ring], Awaitable[None]]) -> None:
    async def main() -> None:
        async with opened_ring() as ring:
            await work(ring)
            await _tidy(ring)

    acting()
    try:
        asyncio.run(main())
    except (SettingsError, signing.KeyRingError, schema.SchemaError) as error:
        output.fail(str(error))
    except Unavailable as error:
        output.fail(f"Postgres cannot be reached ({error.detail}); check {PREFIX}DATABASE_URL")


async def _tidy(ring: Ring) -> None:
    try:
        entries = await _entries(ring)
        if changes.untidy(entries, await ring.store.privates(), ring.policy, ring.now):
            await ring.store.change(changes.tidy(ring.policy, ring.now))
    except signing.KeyRingError as error:
        output.say(f"Keys that are over could not be removed: {error}")


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

    _run(work)


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
        await _record(ring, "key.imported", entry.kid)

    _run(work)


@app.command()
def rotate() -> None:
    """Let the next key sign, made now if there is none, once everybody can know it."""

    async def work(ring: Ring) -> None:
        live = await ring.live()
        plan = changes.rotate(ring.settings.signing_algorithm, ring.policy, ring.now, _publishing(live))
        entry = (await ring.store.change(plan)).entry
        assert entry is not None
        output.say(_begins(entry, ring, live))

    _run(work)


@app.command()
def retire(kid: Kid) -> None:
    """Take a key out of service: the next one is removed, the active one rotated away."""

    async def work(ring: Ring) -> None:
        entry = _meant(kid, await _entries(ring))
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

    _run(work)


@app.command()
def compromise(
    kid: Kid, *, yes: Annotated[bool, typer.Option("--yes", help="Do not ask whether this is meant.")] = False
) -> None:
    """Somebody else may have this key: believe nothing that it signed any more, from this moment on.

    Done again, it finishes what was interrupted.
    """

    async def work(ring: Ring) -> None:
        if ring.deployment is None or ring.database is None:
            output.fail(
                f"This takes the deployment's settings; see: sealwright settings ({PREFIX}DATABASE_URL)"
            )
        entry = _meant(kid, await _entries(ring))
        _confirm(entry, yes=yes)
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
        await _follow_up(ring, entry.kid)

    _run(work)


async def _follow_up(ring: Ring, kid: str) -> None:
    assert ring.deployment is not None
    assert ring.database is not None
    try:
        await schema.require(ring.database)
        async with revoking(ring.deployment, ring.database, follow=False) as revocations:
            await compromising.declare(revocations, kid, ring.policy)
            output.say("Every token that it signed is revoked.")
            count, late = await compromising.until_dropped(ring.database, ring.deployment, kid)
            for replica in late:
                output.say(
                    f"Worker {replica.pid} of {replica.host} still takes it: see its /readyz, restart it."
                )
            output.say(f"{count - len(late)} running workers have dropped it.")
            ended = await compromising.finish(revocations, ring.store, ring.deployment, kid)
            output.say(f"{ended} sessions have ended: their users have to sign in again.")
    except Unavailable as error:
        output.fail(
            f"Postgres cannot be reached ({error.detail}). The services have dropped the key; the rest is to be done: "
            f"run this again, or a running replica does it once Postgres is back."
        )


@app.command()
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
        if ring.deployment is None or ring.database is None:
            output.fail(
                f"This takes the deployment's settings; see: sealwright settings ({PREFIX}DATABASE_URL)"
            )
        await schema.require(ring.database)
        left: StoreName = "files" if to == "postgres" else "postgres"
        source, target = (signing.store_of(ring.deployment, ring.database, name) for name in (left, to))
        if done:
            live = await ring.live()
            behind = [replica for replica in live or () if replica.store == left]
            if live is None or behind:
                output.fail(f"{len(behind)} workers still read the ring from {left}: restart them first.")
            gone = await source.empty()
            output.say(f"{gone} private keys in {left} are destroyed.")
            return
        count = await moving.move(source, target)
        await _record(ring, "key.moved", f"{count} keys from {left} to {to}")
        output.say(
            f"{count} keys are in {to} now, and changed there alone. Set {PREFIX}KEY_STORE={to}, restart the services "
            f"one after the other, then run: sealwright keys move --to {to} --done"
        )

    _run(work)


@app.command()
def reseal() -> None:
    """Seal everything in Postgres with the first of two key-encryption keys."""

    async def work(ring: Ring) -> None:
        if not isinstance(ring.store, signing.PostgresStore):
            output.fail("The keys are in files: nothing is sealed.")
        count = await ring.store.reseal()
        output.say(f"The ring and {count} private keys are sealed with the first key-encryption key.")

    _run(work)


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every key and what it does."""

    async def work(ring: Ring) -> None:
        entries = await _entries(ring)
        output.rows([_row(entries, e, ring) for e in entries], _COLUMNS, as_json=as_json)
        for path in await ring.store.strays(entries):
            output.say(f"{path} belongs to no key of the ring. Delete it unless you know what it is for.")

    _run(work)


async def _entries(ring: Ring) -> tuple[signing.Entry, ...]:
    return ring.store.parse(await ring.store.read())


async def _record(ring: Ring, event: audit.Event, detail: str) -> None:
    if ring.database is None:
        return
    try:
        async with ring.database.transaction() as db:
            await audit.record(db, event, detail=detail)
    except Unavailable:
        output.say("Postgres cannot be reached, so the audit does not know.")


def _meant(kid: str, entries: rules.Entries) -> signing.Entry:
    # A narrow terminal breaks a kid into lines.
    meant = [e for e in entries if e.kid == kid or (len(kid) >= 8 and e.kid.startswith(kid))]
    if len(meant) != 1:
        output.fail(f"The ring has no key {kid}. See: sealwright keys list")
    return meant[0]


def _confirm(entry: signing.Entry, *, yes: bool) -> None:
    if yes:
        return
    if not sys.stdin.isatty():
        output.fail("There is no terminal to ask on: say that it is meant, with --yes.")
    typer.confirm(
        f"Kill everything that {entry.kid} signed? Users whose session it signed last have to sign in again",
        abort=True,
        err=True,
    )


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
