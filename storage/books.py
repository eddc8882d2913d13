"""Booking: what the exchange reported becomes trades, positions, holdings, postings and margin, once.

One transaction under the ledger row's lock books every report of an order that is not booked yet and, when
the order is final, gives back what is left of its hold. The margin view follows inside the lock, before the
commit: a crash between the two repeats the same fill id, which the view has already. ExecID is the key.
"""

import time
from dataclasses import dataclass
from typing import Any

from domain.margin import Hold, position_key, unit_margin, use_of_fill
from domain.orders import OrderStatus, PlacedOrder, Product, Side
from domain.positions import Holding, Position
from domain.reports import ExecType, ExecutionReport
from storage.database import Connection
from storage.inbox import report_of
from storage.margin_book import MarginBook

_ORDER_COLUMNS = ("status", "filled_quantity", "exchange_order_id", "reject_code", "reject_reason")
# One statement, so one snapshot: the order is final here exactly when its last report is due here. In two
# statements a report could commit between them, and be taken without its status or closed without its fill.
_DUE = """
    WITH due AS (
        UPDATE exchange_inbox SET consumed_at_ns = %(now)s
        WHERE order_id = %(order_id)s AND consumed_at_ns IS NULL AND broken IS NULL
        RETURNING seq, exchange, report
    )
    SELECT status, filled_quantity, exchange_order_id, reject_code, reject_reason, seq, exchange, report
    FROM orders LEFT JOIN due ON true WHERE orders.order_id = %(order_id)s ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """The order after booking."""

    status: OrderStatus
    filled_quantity: int
    exchange_order_id: str | None
    reject_code: str | None
    reject_reason: str | None
    fills: list[ExecutionReport]
    """Booked now."""


async def book(conn: Connection, view: MarginBook, placed: PlacedOrder, intraday_percent: int) -> Standing:
    """Book what is due. Raises ValueError when a fill is larger than the hold: that stops visibly."""
    locked = await conn.execute(
        "SELECT generation FROM margin_ledger WHERE user_id = %s FOR UPDATE", (placed.user_id,)
    )
    ledger = await locked.fetchone()
    assert ledger is not None
    found = await conn.execute(_DUE, {"now": time.time_ns(), "order_id": placed.order_id})
    rows = await found.fetchall()
    order = {name: rows[0][name] for name in _ORDER_COLUMNS}
    fills = []
    for row in rows:
        if row["seq"] is None:
            continue
        report = report_of(row["report"])
        if isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE:
            generation = ledger["generation"]
            await _book_fill(conn, view, placed, row["exchange"], report, intraday_percent, generation)
            fills.append(report)
    status = OrderStatus(order["status"])
    if status.is_final:
        await _close(conn, view, placed, ledger["generation"])
    return Standing(**{**order, "status": status}, fills=fills)


async def _book_fill(
    conn: Connection,
    view: MarginBook,
    placed: PlacedOrder,
    exchange: str,
    fill: ExecutionReport,
    intraday_percent: int,
    generation: int,
) -> None:
    terms, quantity, price = placed.terms, fill.last_quantity, fill.last_price
    hold = await _hold(conn, placed)
    unit = unit_margin(terms.product, terms.side, price, intraday_percent)
    assert unit is not None
    if terms.product is Product.CNC:
        realized = await _book_holding(conn, placed, quantity, price)
        use = use_of_fill(hold, quantity, unit, net=0, margin=0, realized=0)
    else:
        before = await _position(conn, placed)
        after = before.traded(terms.side, quantity, price)
        realized = after.realized_pnl - before.realized_pnl
        use = use_of_fill(hold, quantity, unit, before.net_quantity, before.margin, realized)
        await _write_position(conn, placed, after, before.margin + use.used)
    await conn.execute(
        """INSERT INTO trades (exchange, exec_id, order_id, user_id, instrument_id, transaction_type, product,
                               quantity, price, realized_pnl, exchange_order_id, traded_at_ns, booked_at_ns)
           VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)""",
        (
            exchange,
            fill.exec_id,
            placed.order_id,
            placed.user_id,
            terms.instrument_id,
            terms.side,
            terms.product,
            quantity,
            price,
            realized,
            fill.exchange_order_id,
            fill.transact_time_ns,
            time.time_ns(),
        ),
    )
    await _post(conn, placed, exchange, fill)
    await conn.execute(
        """UPDATE margin_holds SET open_quantity = open_quantity - %(open)s,
               close_quantity = close_quantity - %(close)s,
               state = CASE WHEN open_quantity = %(open)s AND close_quantity = %(close)s
                       THEN 'CONSUMED'::hold_state ELSE state END
           WHERE order_id = %(order_id)s""",
        {"open": use.open_quantity, "close": use.close_quantity, "order_id": placed.order_id},
    )
    await conn.execute(
        """UPDATE margin_ledger SET blocked_margin = blocked_margin - %s, used_margin = used_margin + %s,
               realized_pnl = realized_pnl + %s, updated_at_ns = %s WHERE user_id = %s""",
        (
            use.open_quantity * hold.unit_margin,
            use.used,
            use.realized_pnl,
            time.time_ns(),
            placed.user_id,
        ),
    )
    await view.fill(placed.user_id, placed.order_id, f"{exchange}:{fill.exec_id}", use, generation)


async def _close(conn: Connection, view: MarginBook, placed: PlacedOrder, generation: int) -> None:
    """Give back what is left of the hold, money and shares; a repeat finds it closed."""
    released = await conn.execute(
        """UPDATE margin_holds AS hold SET open_quantity = 0, close_quantity = 0, state = 'RELEASED'
           FROM margin_holds AS left_over
           WHERE hold.order_id = %s AND left_over.order_id = hold.order_id AND hold.state = 'BLOCKED'
           RETURNING left_over.open_quantity, left_over.close_quantity, left_over.unit_margin""",
        (placed.order_id,),
    )
    left = await released.fetchone()
    if left is None:
        return
    await conn.execute(
        """UPDATE margin_ledger SET blocked_margin = blocked_margin - %s, updated_at_ns = %s
           WHERE user_id = %s""",
        (left["open_quantity"] * left["unit_margin"], time.time_ns(), placed.user_id),
    )
    terms = placed.terms
    if terms.product is Product.CNC and terms.side is Side.SELL:
        await conn.execute(
            """UPDATE holdings SET blocked_quantity = blocked_quantity - %s
               WHERE user_id = %s AND instrument_id = %s""",
            (left["open_quantity"] + left["close_quantity"], placed.user_id, terms.instrument_id),
        )
    await view.release(placed.user_id, placed.order_id, generation)


async def _hold(conn: Connection, placed: PlacedOrder) -> Hold:
    found = await conn.execute(
        "SELECT unit_margin, open_quantity, close_quantity FROM margin_holds WHERE order_id = %s",
        (placed.order_id,),
    )
    row = await found.fetchone()
    if row is None:
        raise ValueError(f"order {placed.order_id} was filled and has no hold")
    terms = placed.terms
    key = position_key(terms.instrument_id, terms.product)
    return Hold(side=terms.side, position=key, nets=terms.product is not Product.CNC, **row)


async def _book_holding(conn: Connection, placed: PlacedOrder, quantity: int, price: int) -> int:
    """The delivery holding after the fill; returns the profit that a sale realised."""
    terms = placed.terms
    key = {"user_id": placed.user_id, "instrument_id": terms.instrument_id}
    found = await conn.execute(
        """SELECT quantity, t1_quantity, blocked_quantity, cost FROM holdings
           WHERE user_id = %(user_id)s AND instrument_id = %(instrument_id)s FOR UPDATE""",
        key,
    )
    row = await found.fetchone()
    before = Holding(**row) if row else Holding()
    after, realized = (
        (before.bought(quantity, price), 0) if terms.side is Side.BUY else before.sold(quantity, price)
    )
    await conn.execute(
        """INSERT INTO holdings (user_id, instrument_id, quantity, t1_quantity, blocked_quantity, cost)
           VALUES (%(user_id)s, %(instrument_id)s, %(quantity)s, %(t1_quantity)s, %(blocked)s, %(cost)s)
           ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity,
               t1_quantity = excluded.t1_quantity, blocked_quantity = excluded.blocked_quantity,
               cost = excluded.cost""",
        key
        | {
            "quantity": after.quantity,
            "t1_quantity": after.t1_quantity,
            "blocked": after.blocked_quantity,
            "cost": after.cost,
        },
    )
    return realized


async def _position(conn: Connection, placed: PlacedOrder) -> Position:
    found = await conn.execute(
        """SELECT buy_quantity, sell_quantity, buy_value, sell_value, open_cost, realized_pnl, margin
           FROM positions WHERE user_id = %s AND instrument_id = %s AND product = %s""",
        (placed.user_id, placed.terms.instrument_id, placed.terms.product),
    )
    row = await found.fetchone()
    return Position(**row) if row else Position()


async def _write_position(conn: Connection, placed: PlacedOrder, after: Position, margin: int) -> None:
    values: dict[str, Any] = {
        "user_id": placed.user_id,
        "instrument_id": placed.terms.instrument_id,
        "product": placed.terms.product,
        "buy_quantity": after.buy_quantity,
        "sell_quantity": after.sell_quantity,
        "buy_value": after.buy_value,
        "sell_value": after.sell_value,
        "open_cost": after.open_cost,
        "realized_pnl": after.realized_pnl,
        "margin": margin,
    }
    names = ", ".join(values)
    marks = ", ".join(f"%({name})s" for name in values)
    changes = ", ".join(f"{name} = excluded.{name}" for name in list(values)[3:])
    await conn.execute(
        f"""INSERT INTO positions ({names}) VALUES ({marks})
            ON CONFLICT (user_id, instrument_id, product) DO UPDATE SET {changes}""".encode(),
        values,
    )


async def _post(conn: Connection, placed: PlacedOrder, exchange: str, fill: ExecutionReport) -> None:
    """What the client owes the clearing house for the trade, or is owed by it, until T+1."""
    owed = placed.terms.side.sign * fill.last_quantity * fill.last_price
    for account, amount in ((f"unsettled:{placed.user_id}", -owed), (f"clearing:{exchange}", owed)):
        await conn.execute(
            """INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
               VALUES (%s, %s, %s, %s)""",
            (f"trade:{exchange}:{fill.exec_id}", account, amount, time.time_ns()),
        )
