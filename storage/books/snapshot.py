"""What a booking starts from: the holds, holdings and positions that its orders touch.

Read under the ledger locks that make them the booking's alone; what it makes of them,
storage/books/book_rows.py writes back. Called by storage/books/booking.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from domain.booking import UserBooks
from domain.orders import Product
from domain.positions import Holding, Position
from storage.database import Connection, columns
from storage.journals.unbooked import JournaledOrder
from storage.margin.accounts import PendingChange, hold_of

# With the holds of the orders themselves, those of every order that waits on a netting position of theirs.
_HOLDS = """
    SELECT order_id, user_id, instrument_id, product, transaction_type, unit_margin, open_quantity,
           close_quantity, change_id, changed_unit, kept_unit
    FROM margin_holds
    WHERE order_id = ANY(%s) OR (state = 'BLOCKED' AND product <> 'CNC'
        AND (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[])))
"""
_HOLDINGS = """
    SELECT user_id, instrument_id, quantity, t1_quantity, blocked_quantity, cost, taken_back_quantity,
           oversold_quantity, bought_on, bought_quantity, bought_margin
    FROM holdings
    WHERE (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""
_POSITIONS = """
    SELECT user_id, instrument_id, product, buy_quantity, sell_quantity, buy_value, sell_value, open_cost,
           realized_pnl, margin
    FROM positions WHERE (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""


@dataclass(slots=True)
class Touched:
    """The books that the orders at hand touch, and the changes of theirs that are not answered."""

    books: dict[int, UserBooks]
    changes: dict[int, PendingChange]
    """By order."""


async def read(conn: Connection, orders: Sequence[JournaledOrder]) -> Touched:
    """Their users' ledger rows are locked."""
    changes: dict[int, PendingChange] = {}
    books = {order.user_id: UserBooks() for order in orders}
    by_id = {order.order_id: order for order in orders}
    touched = columns({(order.user_id, order.terms.instrument_id) for order in orders})
    netting = {(o.user_id, o.terms.instrument_id) for o in orders if o.terms.product is not Product.CNC}
    waited_on = columns(netting) if netting else [[], []]
    holds = await conn.execute(_HOLDS, (list(by_id), *waited_on))
    holdings = await conn.execute(_HOLDINGS, touched)
    positions = await conn.execute(_POSITIONS, touched)
    for row in await holds.fetchall():
        if row["change_id"] is not None and row["order_id"] in by_id:
            units = row["changed_unit"], row["kept_unit"]
            changes[row["order_id"]] = PendingChange(row["change_id"], *units)
        books[row["user_id"]].holds[row["order_id"]] = hold_of(row)
    for row in await holdings.fetchall():
        user_id, instrument_id = row.pop("user_id"), row.pop("instrument_id")
        books[user_id].holdings[instrument_id] = Holding(**row)
    for row in await positions.fetchall():
        user_id, instrument_id, product = row.pop("user_id"), row.pop("instrument_id"), row.pop("product")
        books[user_id].positions[instrument_id, Product(product)] = Position(**row)
    return Touched(books, changes)
