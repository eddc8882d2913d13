"""Sliced orders: a parent acknowledged with all its slices in one commit, and submitted whole or not at all.

The parent has the idempotency key and no workflow; each slice is an order like any other, with `parent_id`.
Their margin is blocked in the view once, under the parent's id; the transaction that submits them writes a
hold for each and gives the account a new generation, so that the view is built anew from these. Called by the
API and by storage/orders/submissions.py; ordinary orders never come here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import uuid5

from psycopg.rows import DictRow

from domain.orders import OrderStatus, PlacedOrder
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from storage.database import Connection, Database
from storage.journals import intake, intake_keys
from storage.journals.intake import AcceptedOrders, Intake
from storage.journals.order_requests import Acknowledgement, OrderRequest, OrdersRefused
from storage.locks import LockedOrder
from storage.margin.accounts import void_views

_PARENT = """
    INSERT INTO sliced_orders (order_id, user_id, quantity, tag, idempotency_key, created_at_ns)
    VALUES (%s, %s, %s, %s, %s, %s)
"""
_CHILDREN = "UPDATE orders SET parent_id = %s WHERE order_id = ANY(%s)"
_SIBLINGS = """
    SELECT o.parent_id, o.order_id, o.quantity, o.traceparent, i.seq
    FROM orders o JOIN order_intake i USING (order_id) WHERE o.parent_id = ANY(%s) ORDER BY i.seq
"""


class SlicedIntake:
    """Beside the intake of ordinary orders, whose keys, records and places it uses."""

    def __init__(self, database: Database, single: Intake) -> None:
        self._database, self._single = database, single

    async def accept(self, request: OrderRequest, quantities: Sequence[int]) -> Acknowledgement:
        """Make the parent and its slices durable. Raises as Intake.accept."""
        async with self._database.transaction() as conn:
            parent_id = await self._single.mint(conn, request)
            claimed = await intake_keys.claim(conn, [request], [parent_id])
            if not claimed.order_ids:
                first = await intake_keys.first_answers(conn, [request])
                return first[request.user_id, request.key].repeated_to(request)
            at_ns = request.received_at_ns
            rules = self._single.rules(trade_date(at_ns))
            if not rules.have_room(claimed.living[request.user_id], len(quantities)):
                raise OrdersRefused(rules.no_room)
            named = (request.user_id, request.terms.quantity, request.tag, request.key, at_ns)
            await conn.execute(_PARENT, (parent_id, *named))
            children = [
                (await self._single.mint(conn, request), _slice(request, parent_id, number, quantity))
                for number, quantity in enumerate(quantities, start=1)
            ]
            told = await intake.record(conn, children)
            ids = [order_id for order_id, _ in children]
            await conn.execute(_CHILDREN, (parent_id, ids))
        await self._single.tell(
            [(one, AcceptedOrders(Acknowledgement(i, at_ns, replayed=False), told[i])) for i, one in children]
        )
        return Acknowledgement(parent_id, at_ns, replayed=False, children=(*ids,))


def _slice(request: OrderRequest, parent_id: int, number: int, quantity: int) -> OrderRequest:
    terms = replace(request.terms, quantity=quantity)
    return replace(request, key=uuid5(request.key, str(number)), terms=terms, parent_id=parent_id)


@dataclass(frozen=True, slots=True)
class SlicedOrders:
    """The sliced orders among those that a transaction is to submit."""

    siblings: Mapping[int, list[DictRow]]
    """By parent, its slices in order."""

    @property
    def order_ids(self) -> list[int]:
        return [row["order_id"] for rows in self.siblings.values() for row in rows]

    def of(self, placed: PlacedOrder) -> PlacedOrder:
        """As the gates judge it: a slice as the whole order."""
        if placed.slice_of is None:
            return placed
        return replace(placed, terms=replace(placed.terms, quantity=placed.slice_of.quantity))

    def together(self, placed: PlacedOrder) -> list[PlacedOrder]:
        """What is submitted with it: every slice of its parent."""
        if placed.slice_of is None:
            return [placed]
        return [_sibling(placed, row) for row in self.siblings[placed.slice_of.parent_id]]

    def refusal(self, placed: PlacedOrder, orders: Mapping[int, LockedOrder]) -> Refusal | None:
        """Why the whole cannot pass any more: one of its slices was refused."""
        for one in self.together(placed):
            view = orders[one.order_id].view
            if view.status is not OrderStatus.PENDING_VALIDATION:
                return Refusal(RejectCode(view.reject_code or RejectCode.SLICE_REFUSED))
        return None

    async def renew(self, conn: Connection, taken: Sequence[PlacedOrder]) -> None:
        """The view of whoever has promised slices is to be built anew."""
        await void_views(conn, {placed.user_id for placed in taken if placed.slice_of is not None})


async def read(conn: Connection, placed: Sequence[PlacedOrder]) -> SlicedOrders:
    """No statement when none of them is a slice."""
    parents = sorted({one.slice_of.parent_id for one in placed if one.slice_of is not None})
    siblings: dict[int, list[DictRow]] = {parent_id: [] for parent_id in parents}
    if parents:
        for row in await (await conn.execute(_SIBLINGS, (parents,))).fetchall():
            siblings[row["parent_id"]].append(row)
    return SlicedOrders(siblings)


def _sibling(placed: PlacedOrder, row: dict[str, Any]) -> PlacedOrder:
    return replace(
        placed,
        order_id=row["order_id"],
        intake_seq=row["seq"],
        traceparent=row["traceparent"],
        terms=replace(placed.terms, quantity=row["quantity"]),
    )
