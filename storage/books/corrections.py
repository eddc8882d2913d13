"""A bust or correction in the books: trades, postings, position or holding, margin, once per report.

Under the ledger row's lock and in the booking's transaction (storage/books/booking.py), after the fills of
the same batch. The trade's row stays and says what undid it; its postings stay and are reversed by new ones.
"""

import time
from datetime import date
from typing import Any

from psycopg.rows import DictRow

from domain.booking import UserBooks
from domain.corrections import BookedTrade, Replayed, as_holding, as_position, undo
from domain.margin import unit_margin
from domain.orders import Product, Side
from domain.positions import Holding, Position
from domain.reports import ExecType, ExecutionReport
from domain.time import trade_date
from storage.books.book_rows import Entry, Reopening, Undone
from storage.database import Connection, columns
from storage.journals.unbooked import DueReport, JournaledOrder
from storage.ledger import post

_STANDING = """
    SELECT exec_id, transaction_type AS side, quantity, price, unit_margin, realized_pnl, traded_at_ns
    FROM trades
    WHERE user_id = %s AND instrument_id = %s AND product = %s AND exchange = %s AND undone_by IS NULL
    ORDER BY place
"""
_UNDO = "UPDATE trades SET undone_by = %s WHERE exchange = %s AND exec_id = %s AND undone_by IS NULL"
_CORRECTED = """
    INSERT INTO trades (place, exchange, exec_id, order_id, user_id, instrument_id, transaction_type, product,
                        quantity, price, realized_pnl, unit_margin, exchange_order_id, traded_at_ns,
                        booked_at_ns)
    SELECT place, exchange, %(exec_id)s, order_id, user_id, instrument_id, transaction_type, product,
           %(quantity)s, %(price)s, 0, %(unit)s, exchange_order_id, traded_at_ns, %(now)s
    FROM trades WHERE exchange = %(exchange)s AND exec_id = %(undone)s
"""
_REALIZED = """
    UPDATE trades t SET realized_pnl = r.realized
    FROM unnest(%s::text[], %s::bigint[]) AS r (exec_id, realized)
    WHERE t.exchange = %s AND t.exec_id = r.exec_id AND t.realized_pnl <> r.realized
"""


async def book(conn: Connection, books: UserBooks, due: DueReport, intraday_percent: int) -> list[Entry]:
    """What one report does to its user's books. Raises ValueError when the trade does not stand here."""
    placed, exchange, report = due.order, due.exchange, due.report
    assert isinstance(report, ExecutionReport)
    terms = placed.terms
    found = await conn.execute(
        _STANDING, (placed.user_id, terms.instrument_id, terms.product.value, exchange)
    )
    trades = [_booked(row) for row in await found.fetchall()]
    undone = next((trade for trade in trades if trade.exec_id == report.reference_exec_id), None)
    if undone is None:
        raise ValueError(f"{report.exec_id} undoes {report.reference_exec_id}, which is not booked")
    corrected = _corrected(placed, report, intraday_percent, undone.day)
    present = _present(books, placed)
    after = undo(present, terms.product, trades, undone.exec_id, corrected)
    _take(books, placed, after, undone, corrected)
    await _write(conn, exchange, report, after, undone, corrected)
    await _post(conn, placed, exchange, report, undone, corrected)
    realized = after.position.realized_pnl - present.realized_pnl if terms.product is not Product.CNC else 0
    reopened = [Reopening(placed, hold) for hold in books.reopen(terms)]
    return [Undone(placed, after.used, realized), *reopened]


def _booked(row: DictRow) -> BookedTrade:
    day = trade_date(row.pop("traded_at_ns"))
    return BookedTrade(**(row | {"side": Side(row["side"]), "day": day}))


def _corrected(
    placed: JournaledOrder, report: ExecutionReport, intraday_percent: int, day: date
) -> BookedTrade | None:
    """It is of the day of the trade that it corrects."""
    if report.exec_type is ExecType.TRADE_CANCEL:
        return None
    terms = placed.terms
    unit = unit_margin(placed.kind, terms.product, terms.side, report.last_price, intraday_percent)
    unit = report.last_price if unit is None else unit
    return BookedTrade(report.exec_id, terms.side, report.last_quantity, report.last_price, unit, day)


def _present(books: UserBooks, placed: JournaledOrder) -> Position:
    terms = placed.terms
    if terms.product is Product.CNC:
        return as_position(books.holdings.get(terms.instrument_id, Holding()))
    return books.positions.get((terms.instrument_id, terms.product), Position())


def _take(
    books: UserBooks,
    placed: JournaledOrder,
    after: Replayed,
    undone: BookedTrade,
    corrected: BookedTrade | None,
) -> None:
    terms = placed.terms
    if terms.product is not Product.CNC:
        books.positions[terms.instrument_id, terms.product] = after.position
        return
    left = corrected.quantity if corrected else 0
    holding = books.holdings.get(terms.instrument_id, Holding())
    books.holdings[terms.instrument_id] = as_holding(holding, after, undone, left)


async def _write(
    conn: Connection,
    exchange: str,
    report: ExecutionReport,
    after: Replayed,
    undone: BookedTrade,
    corrected: BookedTrade | None,
) -> None:
    await conn.execute(_UNDO, (report.exec_id, exchange, undone.exec_id))
    if corrected is not None:
        values: dict[str, Any] = {
            "exec_id": corrected.exec_id,
            "exchange": exchange,
            "undone": undone.exec_id,
        }
        values |= {"quantity": corrected.quantity, "price": corrected.price, "unit": corrected.unit_margin}
        await conn.execute(_CORRECTED, values | {"now": time.time_ns()})
    if after.trades:
        realized = columns((trade.exec_id, trade.realized_pnl) for trade in after.trades)
        await conn.execute(_REALIZED, (*realized, exchange))


async def _post(
    conn: Connection,
    placed: JournaledOrder,
    exchange: str,
    report: ExecutionReport,
    undone: BookedTrade,
    corrected: BookedTrade | None,
) -> None:
    """The difference to what the client owes the clearing house; none when only the name has changed."""
    value = corrected.quantity * corrected.price if corrected else 0
    owed = placed.terms.side.sign * (value - undone.quantity * undone.price)
    if owed:
        movement, now = f"undone:{exchange}:{report.exec_id}", time.time_ns()
        accounts = ((f"unsettled:{placed.user_id}", -owed), (f"clearing:{exchange}", owed))
        await post(conn, ((movement, account, amount, now) for account, amount in accounts))
