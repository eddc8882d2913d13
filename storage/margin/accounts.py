"""The margin ledger as a view of it must be: the account's figures, its net positions, its holds.

The truth beside the margin book in Redis (storage/margin/view.py), which is loaded from here whenever it is
lost; a trial that changes nothing is judged on it as well.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

from domain.margin import Account, Hold, position_key
from domain.orders import Product, Side
from storage.database import Connection

_VOID = "UPDATE margin_ledger SET generation = nextval('margin_generations') WHERE user_id = ANY(%s)"


@dataclass(frozen=True, slots=True)
class PendingChange:
    """A change that is not answered in the books: until then the hold covers both sets of terms."""

    cl_ord_id: str
    changed_unit: int
    """Unit margin if the exchange takes the change."""
    kept_unit: int
    """Unit margin if it refuses it."""


class AccountUnknown(Exception):
    """The user has no margin ledger: every order is refused."""


async def ledger_state(conn: Connection, user_id: int) -> tuple[Account, dict[str, int], dict[int, Hold]]:
    """What the view of one account must hold. Raises AccountUnknown."""
    found = await conn.execute(
        """SELECT cash, realized_pnl, blocked_margin AS blocked, used_margin AS used, generation,
                  portfolio_blocked, portfolio_used, portfolio_version
           FROM margin_ledger WHERE user_id = %s""",
        (user_id,),
    )
    ledger = await found.fetchone()
    if ledger is None:
        raise AccountUnknown(str(user_id))
    positions = await conn.execute(
        """SELECT instrument_id, product, buy_quantity - sell_quantity AS net
           FROM positions WHERE user_id = %s""",
        (user_id,),
    )
    net = {position_key(row["instrument_id"], Product(row["product"])): row["net"] async for row in positions}
    live = await conn.execute(
        """SELECT order_id, h.instrument_id, h.product, h.transaction_type, unit_margin, open_quantity,
                  close_quantity, parent_id
           FROM margin_holds h LEFT JOIN orders USING (order_id)
           WHERE h.user_id = %s AND state = 'BLOCKED'""",
        (user_id,),
    )
    rows = await live.fetchall()
    holds = {row["order_id"]: hold_of(row) for row in rows}
    # Nothing is left to block for a sliced order whose slices hold it: whoever asks again is told so.
    parents = {row["parent_id"]: hold_of(row) for row in rows if row["parent_id"] is not None}
    holds |= {i: replace(hold, open_quantity=0, close_quantity=0) for i, hold in parents.items()}
    return Account(**ledger), net, holds


async def void_views(conn: Connection, user_ids: Collection[int]) -> None:
    """Give the accounts a new generation: their views are built anew, and what was blocked in the old ones is
    asked anew. Their ledger rows are locked."""
    if user_ids:
        await conn.execute(_VOID, (sorted(user_ids),))


def hold_of(row: dict[str, Any]) -> Hold:
    """A row of margin_holds."""
    product = Product(row["product"])
    return Hold(
        side=Side(row["transaction_type"]),
        position=position_key(row["instrument_id"], product),
        nets=product is not Product.CNC,
        unit_margin=row["unit_margin"],
        open_quantity=row["open_quantity"],
        close_quantity=row["close_quantity"],
    )
