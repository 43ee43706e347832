"""Where a ring is kept: in a folder, or sealed in Postgres. Both hold the same entries and live by the same rules."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, Protocol

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from service.database import Connection, Database, Statement
from service.signing import files, signer
from service.signing.changes import Change, Plan
from service.signing.entries import (
    Damaged,
    Entry,
    KeyRingError,
    dump,
    moved,
    moved_to,
    parse,
    require_moved,
    require_same,
)
from service.signing.sealing import Seals
from service.signing.tables import signing_keys, signing_ring

StoreName = Literal["files", "postgres"]


@dataclass(frozen=True, slots=True)
class Contents:
    """A whole ring, on its way to the other store."""

    entries: tuple[Entry, ...]
    private: Mapping[str, bytes] = field(repr=False)
    """PEM by kid."""


class Store(Protocol):
    """A ring and its private keys. Every method may raise `KeyRingError`; one on Postgres, `Unavailable`."""

    name: StoreName
    where: str
    """The ring's place, for messages."""

    async def read(self) -> bytes:
        """Read the ring as it is kept; the same bytes as long as nobody has changed it."""
        ...

    def parse(self, raw: bytes) -> tuple[Entry, ...]:
        """Parse what `read` read."""
        ...

    async def signer(self, entry: Entry, *, remedy: str) -> signer.Signer:
        """Read a private key; `remedy` says what to do where it is lost."""
        ...

    async def privates(self) -> frozenset[str]:
        """Return the kids whose private half is here."""
        ...

    async def change(self, plan: Plan, *, begin: bool = False) -> Change:
        """Carry out a plan, alone; with `begin`, where there is no ring yet as well."""
        ...

    async def problem_writing(self) -> str | None:
        """Say why this process cannot change the ring; None if it can."""
        ...

    async def strays(self, entries: Sequence[Entry]) -> list[str]:
        """Name private keys that the ring does not know: a killed command left them, or somebody's hand."""
        ...

    async def hand_over(self, to: StoreName | None) -> Contents:
        """Return the ring and its private keys, and let nobody change it here any more; None: let them again."""
        ...

    async def empty(self) -> int:
        """Destroy the private keys that a ring which was handed over has left behind; return how many there were."""
        ...

    async def receive(self, contents: Contents) -> None:
        """Take in a ring that was handed over, where there is none or one that was handed over itself."""
        ...


class FileStore:
    """A folder that all replicas share. What it does happens in a thread: a file system may hang."""

    name: StoreName = "files"

    def __init__(self, keys_dir: Path) -> None:
        self._keys_dir = keys_dir
        self.where = str(files.ring_path(keys_dir))

    async def read(self) -> bytes:
        """As `Store`."""
        return await asyncio.to_thread(files.read_ring, self._keys_dir)

    def parse(self, raw: bytes) -> tuple[Entry, ...]:
        """As `Store`."""
        return files.parse_ring(self._keys_dir, raw)

    async def signer(self, entry: Entry, *, remedy: str) -> signer.Signer:
        """As `Store`."""
        return await asyncio.to_thread(files.read_signer, self._keys_dir, entry, remedy=remedy)

    async def privates(self) -> frozenset[str]:
        """As `Store`."""
        return await asyncio.to_thread(files.privates, self._keys_dir)

    async def change(self, plan: Plan, *, begin: bool = False) -> Change:
        """As `Store`."""
        return await asyncio.to_thread(files.change, self._keys_dir, plan, begin=begin)

    async def problem_writing(self) -> str | None:
        """As `Store`."""
        return await asyncio.to_thread(files.problem_writing, self._keys_dir)

    async def strays(self, entries: Sequence[Entry]) -> list[str]:
        """As `Store`."""
        return [str(path) for path in await asyncio.to_thread(files.strays, self._keys_dir, entries)]

    async def hand_over(self, to: StoreName | None) -> Contents:
        """As `Store`."""
        return Contents(*await asyncio.to_thread(files.hand_over, self._keys_dir, to))

    async def empty(self) -> int:
        """As `Store`."""
        return await asyncio.to_thread(files.empty, self._keys_dir)

    async def receive(self, contents: Contents) -> None:
        """As `Store`."""
        await asyncio.to_thread(files.receive, self._keys_dir, contents.entries, contents.private)


_RING = "key ring"

_ring = Statement(sa.select(signing_ring.c.sealed))
_lock_ring = Statement(sa.select(signing_ring.c.sealed).with_for_update())
_write_ring = Statement(sa.update(signing_ring).values(sealed=sa.bindparam("data", type_=sa.LargeBinary)))
_key = Statement(sa.select(signing_keys.c.sealed).where(signing_keys.c.kid == sa.bindparam("name")))
_keys = Statement(sa.select(signing_keys.c.kid, signing_keys.c.sealed).order_by(signing_keys.c.kid))
_new_key = insert(signing_keys).values(
    kid=sa.bindparam("name"), sealed=sa.bindparam("data", type_=sa.LargeBinary)
)
_write_key = Statement(
    _new_key.on_conflict_do_update(index_elements=["kid"], set_={"sealed": _new_key.excluded.sealed})
)
_destroy_key = Statement(sa.delete(signing_keys).where(signing_keys.c.kid == sa.bindparam("name")))


class PostgresStore:
    """The ring and its private keys in Postgres, sealed."""

    name: StoreName = "postgres"
    where = "The key ring in Postgres"

    def __init__(self, database: Database, seals: Seals) -> None:
        self._database = database
        self._seals = seals

    async def read(self) -> bytes:
        """As `Store`."""
        async with self._database.connect() as db:
            return self._there(await db.value(_ring))

    def parse(self, raw: bytes) -> tuple[Entry, ...]:
        """As `Store`."""
        return self._parse(self._seals.open(raw, _RING))

    async def signer(self, entry: Entry, *, remedy: str) -> signer.Signer:
        """As `Store`."""
        pem = await self.read_private(entry.kid)
        if pem is None:
            raise KeyRingError(f"Postgres has no private key of {entry.kid}. {remedy}")
        try:
            return signer.read(pem, entry.key)
        except signer.Unusable as error:
            raise KeyRingError(f"The private key of {entry.kid} in Postgres {error}. {remedy}") from None

    async def read_private(self, kid: str) -> bytes | None:
        """Read a private key as PEM; None if there is none."""
        async with self._database.connect() as db:
            sealed = await db.value(_key, name=kid)
        return None if sealed is None else self._seals.open(sealed, _purpose(kid))

    async def privates(self) -> frozenset[str]:
        """As `Store`."""
        async with self._database.connect() as db:
            return frozenset(row["kid"] for row in await db.rows(_keys))

    async def change(self, plan: Plan, *, begin: bool = False) -> Change:
        """As `Store`."""
        async with self._database.transaction() as db:
            raw = await db.value(_lock_ring)
            opened = None if raw is None and begin else self._seals.open(self._there(raw), _RING)
            entries = () if opened is None else self._parse(opened)
            if opened is not None and (store := moved_to(opened)) is not None:
                raise moved(self.where, store)
            planned = await asyncio.to_thread(plan, entries)  # it may make a key, which takes a while
            if planned.made is not None:
                await self._write_private(db, *planned.made)
            if planned.entries != entries:
                await self._write(db, planned.entries)
            for kid in planned.gone:
                await db.rows(_destroy_key, name=kid)
        return planned

    async def problem_writing(self) -> str | None:
        """As `Store`: whoever can run the service can write its tables."""
        return None

    async def strays(self, entries: Sequence[Entry]) -> list[str]:
        """As `Store`."""
        kids = await self.privates() - {entry.kid for entry in entries}
        return [f"The private key {kid} in Postgres" for kid in sorted(kids)]

    async def hand_over(self, to: StoreName | None) -> Contents:
        """As `Store`."""
        async with self._database.transaction() as db:
            raw = self._there(await db.value(_lock_ring))
            entries = self.parse(raw)
            private = {
                row["kid"]: self._seals.open(row["sealed"], _purpose(row["kid"]))
                for row in await db.rows(_keys)
            }
            await self._write(db, entries, moved_to=to)
        return Contents(entries, private)

    async def empty(self) -> int:
        """As `Store`."""
        async with self._database.transaction() as db:
            opened = self._seals.open(self._there(await db.value(_lock_ring)), _RING)
            require_moved(self.where, opened)
            gone = await db.rows(_keys)
            for row in gone:
                await db.rows(_destroy_key, name=row["kid"])
        return len(gone)

    async def receive(self, contents: Contents) -> None:
        """As `Store`."""
        async with self._database.transaction() as db:
            raw = await db.value(_lock_ring)
            if raw is not None and moved_to(opened := self._seals.open(raw, _RING)) is None:
                require_same(self.where, self._parse(opened), contents.entries)
                return
            for kid, pem in contents.private.items():
                await self._write_private(db, kid, pem)
            await self._write(db, contents.entries)

    async def reseal(self) -> int:
        """Seal everything anew with the first key-encryption key; return how many private keys that were."""
        async with self._database.transaction() as db:
            raw = self._there(await db.value(_lock_ring))
            rows = await db.rows(_keys)
            opened = self._seals.open(raw, _RING)
            await db.rows(_write_ring, data=self._seals.seal(opened, _RING))
            for row in rows:
                pem = self._seals.open(row["sealed"], _purpose(row["kid"]))
                await self._write_private(db, row["kid"], pem)
        return len(rows)

    async def _write(self, db: Connection, entries: Sequence[Entry], *, moved_to: str | None = None) -> None:
        await db.rows(_write_ring, data=self._seals.seal(dump(entries, moved_to=moved_to), _RING))

    async def _write_private(self, db: Connection, kid: str, pem: bytes) -> None:
        await db.rows(_write_key, name=kid, data=self._seals.seal(pem, _purpose(kid)))

    def _there(self, raw: bytes | None) -> bytes:
        if raw is None:
            raise KeyRingError("There is no key ring in Postgres. Run: sealwright keys generate")
        return raw

    def _parse(self, opened: bytes) -> tuple[Entry, ...]:
        try:
            return parse(opened)
        except Damaged as error:
            raise KeyRingError(f"{self.where} is unusable: {error}. Restore it from your backup.") from None


def _purpose(kid: str) -> str:
    return f"private key {kid}"
