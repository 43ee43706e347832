"""The table of orders, and every statement on it."""

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Self
from uuid import UUID

import asyncpg

_TABLE = """
CREATE TABLE IF NOT EXISTS orders (
    id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    author text NOT NULL,
    item text NOT NULL,
    quantity integer NOT NULL CHECK (quantity > 0),
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX IF NOT EXISTS orders_created_at ON orders (created_at);
"""
_LOCK = 7_001  # any number, as long as all replicas take the same


@dataclass(frozen=True, slots=True)
class Order:
    """One order. `author` is the `sub` of the token that it was made with, and never changes."""

    id: UUID
    author: str
    item: str
    quantity: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ItemReport:
    """What was ordered of one item."""

    item: str
    orders: int
    quantity: int


class Orders:
    """The orders in Postgres. Use it as `async with Orders(url) as orders`."""

    def __init__(self, database_url: str) -> None:
        self._url = database_url
        self._pool: asyncpg.Pool[asyncpg.Record]

    async def __aenter__(self) -> Self:
        self._pool = await asyncpg.create_pool(
            self._url, min_size=1, max_size=10, timeout=5, command_timeout=5
        )
        async with self._pool.acquire() as db, db.transaction():
            # IF NOT EXISTS does not keep two replicas that start at once from making it twice.
            await db.execute("SELECT pg_advisory_xact_lock($1)", _LOCK)
            await db.execute(_TABLE)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._pool.close()

    async def ping(self) -> None:
        """Ask the database for nothing: it raises if it cannot be reached."""
        await self._pool.execute("SELECT 1")

    async def add(self, author: str, item: str, quantity: int) -> Order:
        """Add an order."""
        row = await self._pool.fetchrow(
            "INSERT INTO orders (author, item, quantity) VALUES ($1, $2, $3) RETURNING *",
            author,
            item,
            quantity,
        )
        assert row is not None  # an INSERT that does nothing raises
        return Order(**row)

    async def latest(self, limit: int) -> list[Order]:
        """Return so many, the newest first."""
        rows = await self._pool.fetch("SELECT * FROM orders ORDER BY created_at DESC, id LIMIT $1", limit)
        return [Order(**row) for row in rows]

    async def get(self, order_id: UUID) -> Order | None:
        """Return one, if it is there."""
        row = await self._pool.fetchrow("SELECT * FROM orders WHERE id = $1", order_id)
        return Order(**row) if row else None

    async def change(self, order_id: UUID, item: str, quantity: int) -> Order | None:
        """Change what is ordered; None if the order is not there any more."""
        row = await self._pool.fetchrow(
            "UPDATE orders SET item = $2, quantity = $3 WHERE id = $1 RETURNING *", order_id, item, quantity
        )
        return Order(**row) if row else None

    async def delete(self, order_id: UUID) -> Order | None:
        """Delete one, and return it; None if it was not there."""
        row = await self._pool.fetchrow("DELETE FROM orders WHERE id = $1 RETURNING *", order_id)
        return Order(**row) if row else None

    async def report(self) -> list[ItemReport]:
        """Sum up by item."""
        rows = await self._pool.fetch(
            "SELECT item, count(*) AS orders, sum(quantity)::bigint AS quantity"
            " FROM orders GROUP BY item ORDER BY item"
        )
        return [ItemReport(**row) for row in rows]
