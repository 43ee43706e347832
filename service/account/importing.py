"""Taking over the users of another system: all lines of a file, or none."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice

import asyncpg

from service import audit
from service.account.registration import in_words
from service.clients import rules
from service.clients.rules import NotAllowed
from service.database import Connection
from service.http import is_text
from service.revocation import Revocation, Revocations, Revoking
from service.sessions.ending import end_rows_in
from service.users import bulk, store
from service.users.bulk import Incoming
from service.users.hashes import UnusableHash, parse
from service.users.store import normalised

BATCH = 1000
"""Lines of one statement."""

MAX_LINE = 16 * 1024  # bytes

_MEMBERS = frozenset({"username", "email", "roles", "disabled", "password_hash"})


class BadLine(Exception):
    """A line that cannot be imported, by its number; the text quotes nothing of it."""

    def __init__(self, number: int, what: str) -> None:
        super().__init__(f"Line {number}: {what}. Nothing was imported.")


@dataclass(frozen=True, slots=True)
class Numbered:
    """A user, with the line that it stands on."""

    line: int
    user: Incoming


@dataclass(slots=True)
class Counts:
    """What became of the lines."""

    added: int = 0
    updated: int = 0
    skipped: int = 0


class _OnlyTried(Exception):  # no error: it takes back what was tried
    """Rolls back an import that was to be tried only."""


async def import_users(
    revocations: Revocations, lines: Iterable[bytes], lifetime: timedelta, *, update: bool, dry_run: bool
) -> Counts:
    """Add the users that these lines of JSON tell of, in one transaction; a batch of them is held at a time.

    Those whose username is there already are left alone, or, with `update`, brought to what the line says. Their
    password is replaced only while it is one that was imported and never used.

    Raises:
        BadLine: one of the lines will not do; nothing was done.
    """
    counts = Counts()
    with contextlib.suppress(_OnlyTried):
        async with revocations.transaction() as revoking:
            known_roles: set[str] = set()
            numbered = _parsed(lines)
            while batch := list(islice(numbered, BATCH)):
                await _check_roles(revoking.db, batch, known_roles)
                await _take(revoking, batch, lifetime, counts, update=update)
            if dry_run:
                raise _OnlyTried
    return counts


async def _take(
    revoking: Revoking, batch: Sequence[Numbered], lifetime: timedelta, counts: Counts, *, update: bool
) -> None:
    db = revoking.db
    users = [each.user for each in batch]
    try:
        async with db.transaction():
            # Before the new ones are added, which would be found again.
            changed = await bulk.update(db, users) if update else []
            added = await bulk.add(db, users)
    except asyncpg.IntegrityConstraintViolationError:
        await _blame(db, batch, update=update)
        raise
    await audit.record_all(db, "user.imported", added)
    await audit.record_all(db, "user.updated", [each.id for each in changed])
    for each in changed:
        if each.raised:
            if each.dead_below is None:
                await end_rows_in(revoking, each.id, "user_disabled")
            revoking.revoke(Revocation("sub", str(each.id), "user_updated", lifetime, each.dead_below))
    counts.added += len(added)
    counts.updated += len(changed)
    counts.skipped += len(batch) - len(added) - len(changed)


async def _blame(db: Connection, batch: Sequence[Numbered], *, update: bool) -> None:
    """Find the line of a batch that a constraint refuses, by trying one after the other."""
    for each in batch:
        try:
            async with in_words():
                if update:
                    await bulk.update(db, [each.user])
                await bulk.add(db, [each.user])
        except NotAllowed as error:
            raise BadLine(each.line, str(error)) from None


async def _check_roles(db: Connection, batch: Sequence[Numbered], known: set[str]) -> None:
    named = {role for each in batch for role in each.user.roles or ()} - known
    unknown = set(await store.unknown_roles(db, sorted(named))) if named else set()
    known |= named - unknown
    for each in batch:
        roles = each.user.roles or ()
        if missing := unknown.intersection(roles):
            raise BadLine(each.line, f"there is no role {min(missing)!r}; see: sealwright roles list")
        try:
            rules.check_roles(roles)
        except NotAllowed as error:
            raise BadLine(each.line, str(error)) from None


def _parsed(lines: Iterable[bytes]) -> Iterator[Numbered]:
    seen: set[int] = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            user = parse_line(line)
        except ValueError as error:
            raise BadLine(number, str(error)) from None
        # A number for each name, not the name: millions of lines fit into memory.
        mark = hash(user.username)
        if mark in seen:
            raise BadLine(number, "this username stands on an earlier line, too")
        seen.add(mark)
        yield Numbered(number, user)


def parse_line(line: bytes) -> Incoming:
    """Read one user.

    Raises:
        ValueError: it is none; the text says why.
    """
    if len(line) > MAX_LINE:
        raise ValueError(f"it is longer than {MAX_LINE:,} bytes")
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("it is not JSON") from None
    if not isinstance(value, dict) or not value.keys() <= _MEMBERS:
        raise ValueError(f"it must be a JSON object with no other members than {', '.join(sorted(_MEMBERS))}")
    roles, disabled = value.get("roles"), value.get("disabled")
    if roles is not None and not (isinstance(roles, list) and all(_is_role(role) for role in roles)):
        raise ValueError("roles must be an array of names of roles")
    if disabled is not None and not isinstance(disabled, bool):
        raise ValueError("disabled must be true or false")
    username, email, password_hash = (_text(value, name) for name in ("username", "email", "password_hash"))
    if username is None or not 1 <= len(normalised(username)) <= 64 or "@" in username:
        raise ValueError("username must be 1 to 64 characters, without @")
    try:
        if password_hash is not None:
            parse(password_hash)
    except UnusableHash as error:
        raise ValueError(f"password_hash: {error}") from None
    return Incoming(
        normalised(username),
        normalised(email) if email else None,
        None if roles is None else tuple(dict.fromkeys(roles)),
        disabled,
        password_hash or None,
    )


def _text(value: dict[str, object], name: str) -> str | None:
    member = value.get(name)
    if member is not None and not (isinstance(member, str) and is_text(member)):
        raise ValueError(f"{name} must be a string without control characters")
    return member


def _is_role(role: object) -> bool:
    return isinstance(role, str) and is_text(role) and " " not in role and role != ""
