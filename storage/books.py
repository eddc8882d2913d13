"""Booking: what the exchange reported becomes trades, positions, holdings, postings and margin, once.

One transaction under the ledger rows' locks books every report of its orders that is not booked yet and
gives back what is left of a final order's hold. The margin view follows inside the locks, before the commit:
a crash between the two repeats the same fill id, which the view has already. ExecID is the key. The steps
themselves are in domain/booking.py; called by the order worker, in groups.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.booking import UserBooks
from domain.margin import Hold, position_key
from domain.orders import OrderStatus, PlacedOrder, Product
from domain.positions import Holding, Position
from domain.reports import ExecType, ExecutionReport
from storage import book_entries
from storage.book_entries import Fill, Released
from storage.database import Connection, columns
from storage.inbox import report_of
from storage.margin_book import FillStep, MarginBook, ReleaseStep, Step

_LOCK_LEDGERS = """
    SELECT user_id, generation FROM margin_ledger WHERE user_id = ANY(%s) ORDER BY user_id FOR UPDATE
"""
# One statement, so one snapshot: an order is final here exactly when its last report is due here. In two
# statements a report could commit between them, and be taken without its status or closed without its fill.
_DUE = """
    WITH due AS (
        UPDATE exchange_inbox SET consumed_at_ns = %(now)s
        WHERE order_id = ANY(%(order_ids)s) AND consumed_at_ns IS NULL AND broken IS NULL
        RETURNING order_id, seq, exchange, report
    )
    SELECT o.order_id, status, filled_quantity, exchange_order_id, reject_code, reject_reason, seq, exchange,
           report
    FROM orders o LEFT JOIN due USING (order_id) WHERE o.order_id = ANY(%(order_ids)s) ORDER BY seq
"""
_HOLDS = """
    SELECT order_id, unit_margin, open_quantity, close_quantity FROM margin_holds WHERE order_id = ANY(%s)
"""
_HOLDINGS = """
    SELECT user_id, instrument_id, quantity, t1_quantity, blocked_quantity, cost FROM holdings
    WHERE (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""
_POSITIONS = """
    SELECT user_id, instrument_id, product, buy_quantity, sell_quantity, buy_value, sell_value, open_cost,
           realized_pnl, margin
    FROM positions WHERE (user_id, instrument_id) IN (SELECT * FROM unnest(%s::bigint[], %s::text[]))
"""


@dataclass(frozen=True, slots=True)
class Standing:
    """An order after booking."""

    status: OrderStatus
    filled_quantity: int
    exchange_order_id: str | None
    reject_code: str | None
    reject_reason: str | None
    fills: list[ExecutionReport] = field(default_factory=list)
    """Booked now, in the order of the reports."""


async def book(
    conn: Connection, view: MarginBook, orders: Sequence[PlacedOrder], intraday_percent: int
) -> list[Standing]:
    """Book what is due of each order. Raises ValueError when a fill is larger than its hold."""
    placed = {order.order_id: order for order in orders}
    locked = await conn.execute(_LOCK_LEDGERS, (sorted({order.user_id for order in orders}),))
    generations = {row["user_id"]: row["generation"] for row in await locked.fetchall()}
    due = await conn.execute(_DUE, {"now": time.time_ns(), "order_ids": list(placed)})
    rows = await due.fetchall()
    standings = {row["order_id"]: _standing(row) for row in rows}
    fills = [(row["order_id"], row["exchange"], fill) for row in rows if (fill := _fill(row)) is not None]
    final = [order_id for order_id, standing in standings.items() if standing.status.is_final]
    if fills or final:
        books = await _read(conn, [placed[i] for i in {*final, *(order_id for order_id, _, _ in fills)}])
        booked = []
        for order_id, exchange, fill in fills:
            order = placed[order_id]
            unit = _unit(books, order)
            done = books[order.user_id].book_fill(
                order_id, order.terms, fill.last_quantity, fill.last_price, intraday_percent
            )
            booked.append(Fill(order, exchange, fill, done, unit))
            standings[order_id].fills.append(fill)
        released = [
            Released(placed[i], hold)
            for i in final
            if (hold := books[placed[i].user_id].close(i, placed[i].terms)) is not None
        ]
        await book_entries.write(conn, books, booked, released)
        await view.follow(_view_steps(booked, released, generations))
    return [standings[order.order_id] for order in orders]


def _standing(row: dict[str, Any]) -> Standing:
    return Standing(
        OrderStatus(row["status"]),
        row["filled_quantity"],
        row["exchange_order_id"],
        row["reject_code"],
        row["reject_reason"],
    )


def _fill(row: dict[str, Any]) -> ExecutionReport | None:
    report = report_of(row["report"]) if row["seq"] is not None else None
    traded = isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE
    return report if traded and isinstance(report, ExecutionReport) else None


def _unit(books: dict[int, UserBooks], order: PlacedOrder) -> int:
    hold = books[order.user_id].holds.get(order.order_id)
    return hold.unit_margin if hold else 0


async def _read(conn: Connection, orders: Sequence[PlacedOrder]) -> dict[int, UserBooks]:
    """The books that these orders touch; their users' ledger rows are locked."""
    books = {order.user_id: UserBooks() for order in orders}
    by_id = {order.order_id: order for order in orders}
    touched = columns({(order.user_id, order.terms.instrument_id) for order in orders})
    holds = await conn.execute(_HOLDS, (list(by_id),))
    holdings = await conn.execute(_HOLDINGS, touched)
    positions = await conn.execute(_POSITIONS, touched)
    for row in await holds.fetchall():
        order = by_id[row.pop("order_id")]
        terms = order.terms
        key, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        books[order.user_id].holds[order.order_id] = Hold(side=terms.side, position=key, nets=nets, **row)
    for row in await holdings.fetchall():
        user_id, instrument_id = row.pop("user_id"), row.pop("instrument_id")
        books[user_id].holdings[instrument_id] = Holding(**row)
    for row in await positions.fetchall():
        user_id, instrument_id, product = row.pop("user_id"), row.pop("instrument_id"), row.pop("product")
        books[user_id].positions[instrument_id, Product(product)] = Position(**row)
    return books


def _view_steps(fills: list[Fill], released: list[Released], generations: dict[int, int]) -> list[Step]:
    """What the margin view must do, in the order of the books."""
    filled = [
        FillStep(
            fill.placed.user_id,
            fill.placed.order_id,
            f"{fill.exchange}:{fill.report.exec_id}",
            fill.booked.use,
            generations[fill.placed.user_id],
        )
        for fill in fills
    ]
    given_back = [
        ReleaseStep(one.placed.user_id, one.placed.order_id, generations[one.placed.user_id])
        for one in released
    ]
    return [*filled, *given_back]
