"""The entries of a booking: trades, postings, holds, ledger, holdings, positions; each table one statement.

Pure rows from what was applied (domain/booking.py); written in the booking's transaction, whose ledger locks
make every value here the only writer's. Called by storage/books.py.
"""

import time
from typing import Any, NamedTuple

from domain.booking import BookedFill, UserBooks
from domain.margin import Hold
from domain.orders import PlacedOrder, Product
from domain.positions import Position
from domain.reports import ExecutionReport
from storage.database import Connection, columns

_WRITE_TRADES = """
    INSERT INTO trades (exchange, exec_id, order_id, user_id, instrument_id, transaction_type, product,
                        quantity, price, realized_pnl, exchange_order_id, traded_at_ns, booked_at_ns)
    SELECT exchange, exec_id, order_id, user_id, instrument_id, side::side, product::product, quantity, price,
           realized_pnl, exchange_order_id, traded_at, booked_at
    FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                %s::int[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
        AS t (exchange, exec_id, order_id, user_id, instrument_id, side, product, quantity, price,
              realized_pnl, exchange_order_id, traded_at, booked_at)
"""
_WRITE_POSTINGS = """
    INSERT INTO ledger_postings (movement, account, amount, posted_at_ns)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[])
"""
_WRITE_HOLDS = """
    UPDATE margin_holds h SET open_quantity = w.open, close_quantity = w.close, state = w.state::hold_state
    FROM unnest(%s::bigint[], %s::int[], %s::int[], %s::text[]) AS w (order_id, open, close, state)
    WHERE h.order_id = w.order_id
"""
_WRITE_LEDGERS = """
    UPDATE margin_ledger l SET blocked_margin = blocked_margin + w.blocked,
        used_margin = used_margin + w.used, realized_pnl = realized_pnl + w.realized, updated_at_ns = w.at
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
        AS w (user_id, blocked, used, realized, at)
    WHERE l.user_id = w.user_id
"""
_WRITE_HOLDINGS = """
    INSERT INTO holdings (user_id, instrument_id, quantity, t1_quantity, blocked_quantity, cost)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::int[], %s::int[], %s::bigint[])
    ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity,
        t1_quantity = excluded.t1_quantity, blocked_quantity = excluded.blocked_quantity, cost = excluded.cost
"""
_WRITE_POSITIONS = """
    INSERT INTO positions (user_id, instrument_id, product, buy_quantity, sell_quantity, buy_value,
                           sell_value, open_cost, realized_pnl, margin)
    SELECT user_id, instrument_id, product::product, buy_quantity, sell_quantity, buy_value, sell_value,
           open_cost, realized_pnl, margin
    FROM unnest(%s::bigint[], %s::text[], %s::text[], %s::int[], %s::int[], %s::bigint[], %s::bigint[],
                %s::bigint[], %s::bigint[], %s::bigint[])
        AS p (user_id, instrument_id, product, buy_quantity, sell_quantity, buy_value, sell_value, open_cost,
              realized_pnl, margin)
    ON CONFLICT (user_id, instrument_id, product) DO UPDATE SET buy_quantity = excluded.buy_quantity,
        sell_quantity = excluded.sell_quantity, buy_value = excluded.buy_value,
        sell_value = excluded.sell_value, open_cost = excluded.open_cost,
        realized_pnl = excluded.realized_pnl, margin = excluded.margin
"""


class Fill(NamedTuple):
    placed: PlacedOrder
    exchange: str
    report: ExecutionReport
    booked: BookedFill
    unit_margin: int
    """Of the hold."""


class Released(NamedTuple):
    placed: PlacedOrder
    hold: Hold


async def write(
    conn: Connection, books: dict[int, UserBooks], fills: list[Fill], released: list[Released]
) -> None:
    now = time.time_ns()
    if fills:
        await conn.execute(_WRITE_TRADES, columns(_trade(fill, now) for fill in fills))
        await conn.execute(_WRITE_POSTINGS, columns(row for fill in fills for row in _postings(fill, now)))
    touched = {(f.placed.user_id, f.placed.terms.instrument_id, f.placed.terms.product) for f in fills}
    touched |= {(r.placed.user_id, r.placed.terms.instrument_id, r.placed.terms.product) for r in released}
    if not touched:
        return
    held = [
        (user_id, instrument_id, h.quantity, h.t1_quantity, h.blocked_quantity, h.cost)
        for user_id, instrument_id, product in sorted(touched)
        if product is Product.CNC and (h := books[user_id].holdings.get(instrument_id)) is not None
    ]
    if held:
        await conn.execute(_WRITE_HOLDINGS, columns(held))
    positions = [
        (user_id, instrument_id, product.value, *_position(position))
        for user_id, instrument_id, product in sorted(touched)
        if (position := books[user_id].positions.get((instrument_id, product))) is not None
    ]
    if positions:
        await conn.execute(_WRITE_POSITIONS, columns(positions))
    await conn.execute(_WRITE_HOLDS, columns(_holds(books, fills, released)))
    await conn.execute(_WRITE_LEDGERS, columns(_ledgers(fills, released, now)))


def _trade(fill: Fill, now: int) -> tuple[Any, ...]:
    placed, report = fill.placed, fill.report
    return (
        fill.exchange,
        report.exec_id,
        placed.order_id,
        placed.user_id,
        placed.terms.instrument_id,
        placed.terms.side.value,
        placed.terms.product.value,
        report.last_quantity,
        report.last_price,
        fill.booked.realized_pnl,
        report.exchange_order_id,
        report.transact_time_ns,
        now,
    )


def _postings(fill: Fill, now: int) -> list[tuple[str, str, int, int]]:
    """What the client owes the clearing house for the trade, or is owed by it, until T+1."""
    movement = f"trade:{fill.exchange}:{fill.report.exec_id}"
    owed = fill.placed.terms.side.sign * fill.report.last_quantity * fill.report.last_price
    return [
        (movement, f"unsettled:{fill.placed.user_id}", -owed, now),
        (movement, f"clearing:{fill.exchange}", owed, now),
    ]


def _position(position: Position) -> tuple[int, ...]:
    return (
        position.buy_quantity,
        position.sell_quantity,
        position.buy_value,
        position.sell_value,
        position.open_cost,
        position.realized_pnl,
        position.margin,
    )


def _holds(
    books: dict[int, UserBooks], fills: list[Fill], released: list[Released]
) -> list[tuple[int, int, int, str]]:
    given_back = {one.placed.order_id for one in released}
    orders = [fill.placed for fill in fills] + [one.placed for one in released]
    touched = {placed.order_id: placed.user_id for placed in orders}
    rows = []
    for order_id, user_id in touched.items():
        hold = books[user_id].holds[order_id]
        consumed = hold.open_quantity == hold.close_quantity == 0
        state = "RELEASED" if order_id in given_back else "CONSUMED" if consumed else "BLOCKED"
        rows.append((order_id, hold.open_quantity, hold.close_quantity, state))
    return rows


def _ledgers(fills: list[Fill], released: list[Released], now: int) -> list[tuple[int, ...]]:
    """Change of blocked, used and realised by user."""
    changes: dict[int, list[int]] = {}
    for fill in fills:
        change, use = changes.setdefault(fill.placed.user_id, [0, 0, 0]), fill.booked.use
        change[0] -= use.open_quantity * fill.unit_margin
        change[1] += use.used
        change[2] += use.realized_pnl
    for one in released:
        changes.setdefault(one.placed.user_id, [0, 0, 0])[0] -= one.hold.blocked
    return [(user_id, *change, now) for user_id, change in changes.items()]
