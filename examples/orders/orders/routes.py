"""Who may do what with orders."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel, Field

from orders.store import ItemReport, Order, Orders
from sealwright import Claims
from sealwright.fastapi import Guard, Permit


class Wanted(BaseModel):
    """What a caller says of an order; who made it is in the token."""

    item: str = Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")  # Postgres keeps no NUL
    quantity: int = Field(ge=1, le=1_000_000)


def is_author(caller: Claims, order: Order) -> bool:
    """Whether an order is the caller's own."""
    return caller.sub == order.author


def routes(guard: Guard, orders: Orders) -> APIRouter:
    """Make the routes. A scope is what the program was allowed, a role what the user is: writing takes both."""
    router = APIRouter()
    may_read = guard.scopes("orders:read")
    may_write = guard.scopes("orders:write")
    may_create = may_write & guard.roles("editor", "admin")
    may_edit = may_write & (guard.allow(is_author) | guard.roles("admin"))
    may_delete = may_write & guard.roles("admin")

    @router.get("/orders", dependencies=[Depends(may_read)])
    async def latest(limit: Annotated[int, Query(ge=1, le=100)] = 50) -> list[Order]:
        return await orders.latest(limit)

    @router.post("/orders", status_code=201)
    async def create(wanted: Wanted, caller: Annotated[Claims, Depends(may_create)]) -> Order:
        return await orders.add(caller.sub, wanted.item, wanted.quantity)

    @router.put("/orders/{order_id}")
    async def edit(order_id: UUID, wanted: Wanted, permit: Annotated[Permit, Depends(may_edit)]) -> Order:
        await permit(_found(await orders.get(order_id)))
        # An order never changes its author: what was permitted still is.
        return _found(await orders.change(order_id, wanted.item, wanted.quantity))

    @router.delete("/orders/{order_id}", status_code=204, dependencies=[Depends(may_delete)])
    async def delete(order_id: UUID) -> None:
        _found(await orders.delete(order_id))

    @router.get("/reports", dependencies=[Depends(guard)])
    async def report() -> list[ItemReport]:
        return await orders.report()

    return router


def _found(order: Order | None) -> Order:
    if order is None:
        raise HTTPException(404, "there is no such order")
    return order
