"""Orders as their workflows are given them: read from the journals, their terms as they stand now.

Whoever starts a story, or speaks of an order to the exchange outside one, reads it here. Called by the claim
of the intake, the cancels and the restart of stories.
"""

from collections.abc import Iterable

from psycopg.rows import DictRow

from domain.orders import OrderStatus, OrderTerms, OrderType, PlacedOrder, Product, Side, SliceOf, Validity
from storage.database import Connection

COLUMNS = """
    orders.order_id, orders.user_id, seq, accepted_at_ns, instrument_id, order_type, transaction_type,
    product, validity, quantity, price, trigger_price, market_protection, traceparent, status,
    COALESCE(orders.owner, '') AS owner,
    EXISTS (SELECT FROM house_orders h
            WHERE (h.user_id, h.key) = (orders.user_id, orders.idempotency_key)) AS by_house,
    parent_id, (SELECT s.quantity FROM sliced_orders s WHERE s.order_id = parent_id) AS whole
"""
"""Of `orders`, once it is joined with its row of the intake; for `placed_order`."""
_READ = f"SELECT {COLUMNS} FROM orders JOIN order_intake USING (order_id) WHERE order_id = ANY(%s)"


async def read(conn: Connection, order_ids: Iterable[int]) -> dict[int, PlacedOrder]:
    """Those of the orders that were acknowledged, by id."""
    rows = await (await conn.execute(_READ, (list(order_ids),))).fetchall()
    return {row["order_id"]: placed_order(row) for row in rows}


def placed_order(row: DictRow) -> PlacedOrder:
    """An order from its row of COLUMNS."""
    return PlacedOrder(
        row["order_id"],
        row["user_id"],
        row["seq"],
        row["accepted_at_ns"],
        order_terms(row),
        row["traceparent"],
        row["owner"],
        row["by_house"],
        None if row["parent_id"] is None else SliceOf(row["parent_id"], row["whole"]),
        past_gates=row["status"] != OrderStatus.PENDING_VALIDATION,
    )


def order_terms(row: DictRow) -> OrderTerms:
    """The terms of an order as its row has them now."""
    return OrderTerms(
        row["instrument_id"],
        OrderType(row["order_type"]),
        Side(row["transaction_type"]),
        Product(row["product"]),
        Validity(row["validity"]),
        row["quantity"],
        row["price"],
        row["trigger_price"],
        row["market_protection"],
    )
