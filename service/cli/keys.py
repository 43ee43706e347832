"""`sealwright keys`: make, list, rotate and retire the signing keys. Needs neither Postgres nor Redis."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from service import settings, signing
from service.cli import output
from service.signing import files, rules

app = typer.Typer(help="Make, list, rotate and retire the signing keys.", no_args_is_help=True)

_COLUMNS = ("kid", "state", "alg", "created", "signs_from", "stops", "in_jwks_until")


@dataclass(frozen=True, slots=True)
class _Ring:
    """What every command works with. The services and the commands must have the same settings."""

    settings: settings.KeySettings
    policy: signing.Policy
    now: datetime


@contextmanager
def _ring() -> Iterator[_Ring]:
    try:
        known = settings.load_for_keys()
        ring = _Ring(known, signing.Policy.of(known), datetime.now(UTC))
        yield ring
    except (settings.SettingsError, signing.KeyRingError) as error:
        output.fail(str(error))
    try:
        signing.tidy(known.keys_dir, ring.policy, ring.now)
    except signing.KeyRingError as error:
        output.say(f"Keys that are over could not be removed: {error}")


@app.command()
def generate(
    *, if_none: Annotated[bool, typer.Option("--if-none", help="Do nothing if there is a key.")] = False
) -> None:
    """Make a key: the first signs at once, another one is published as the next."""
    with _ring() as ring:
        make = signing.ensure if if_none else signing.generate
        entry = make(ring.settings.keys_dir, ring.settings.signing_algorithm, ring.now)
        if entry is None:
            output.say("There is a key already.")
        elif entry.signs_from is not None:
            output.say(f"{entry.kid} signs from now on.")
        else:
            output.say(f"{entry.kid} is the next key. To let it sign: sealwright keys rotate")


@app.command()
def rotate() -> None:
    """Let the next key sign, made now if there is none, once everybody can know it."""
    with _ring() as ring:
        entry = signing.rotate(ring.settings.keys_dir, ring.settings.signing_algorithm, ring.policy, ring.now)
        output.say(_begins(entry, ring.now))


@app.command()
def retire(
    kid: Annotated[str, typer.Argument(help="From `sealwright keys list`; its first 8 characters will do.")],
) -> None:
    """Take a key out of service: the next one is removed, the active one rotated away."""
    with _ring() as ring:
        keys_dir, policy = ring.settings.keys_dir, ring.policy
        kid = _whole(kid, files.read_entries(keys_dir))
        successor = signing.retire(keys_dir, kid, ring.settings.signing_algorithm, policy, ring.now)
        if successor is None:
            output.say(f"{kid} is gone. It never signed.")
            return
        stop = successor.signs_from
        assert stop is not None
        if stop > ring.now:
            output.say(f"{_begins(successor, ring.now)} Then {kid} retires.")
        else:
            output.say(f"{kid} has retired: it stopped signing at {_at(stop)}.")
        end = stop + policy.published_for
        output.say(f"It {'stays in the JWKS until' if end > ring.now else 'left the JWKS at'} {_at(end)}.")


@app.command(name="list")
def list_(*, as_json: output.Json = False) -> None:
    """Show every key and what it does."""
    with _ring() as ring:
        keys_dir = ring.settings.keys_dir
        entries = files.read_entries(keys_dir)
        output.rows([_row(entries, e, ring) for e in entries], _COLUMNS, as_json=as_json)
        for path in files.strays(keys_dir, entries):
            output.say(f"{path} belongs to no key of the ring. Delete it unless you know what it is for.")


def _whole(kid: str, entries: rules.Entries) -> str:
    # A narrow terminal breaks a kid into lines.
    meant = [entry.kid for entry in entries if len(kid) >= 8 and entry.kid.startswith(kid)]
    return meant[0] if len(meant) == 1 else kid


def _row(entries: rules.Entries, entry: signing.Entry, ring: _Ring) -> dict[str, Any]:
    return {
        "kid": entry.kid,
        "state": rules.state(entries, entry, ring.now),
        "alg": entry.key.alg,
        "created": entry.created_at,
        "signs_from": entry.signs_from,
        "stops": rules.stops_at(entries, entry),
        "in_jwks_until": rules.published_until(entries, entry, ring.policy),
    }


def _begins(entry: signing.Entry, now: datetime) -> str:
    assert entry.signs_from is not None
    wait = max(0, round((entry.signs_from - now).total_seconds()))
    return f"{entry.kid} signs from {_at(entry.signs_from)}, in {wait} s."


def _at(time: datetime) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%SZ")
