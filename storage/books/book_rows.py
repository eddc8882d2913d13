"""The entries of a booking: trades, postings, holds, ledger, holdings, positions; each table one statement.

Pure rows from what was applied (domain/booking.py); written in the booking's transaction, whose ledger locks
make every value here the only writer's. Called by storage/books/booking.py.
"""

import time
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any, NamedTuple

from domain.booking import BookedFill, Reopened, Resized, UserBooks
from domain.margin import Hold
from domain.orders import Product
from domain.positions import Position
from domain.reports import ExecutionReport
from storage import ledger
from storage.database import Connection, columns
from storage.journals.unbooked import JournaledOrder

_WRITE_TRADES = """
    INSERT INTO trades (exchange, exec_id, order_id, user_id, instrument_id, transaction_type, product,
                        quantity, price, realized_pnl, unit_margin, exchange_order_id, traded_at_ns,
                        booked_at_ns)
    SELECT exchange, exec_id, order_id, user_id, instrument_id, side::side, product::product, quantity, price,
           realized_pnl, unit_margin, exchange_order_id, traded_at, booked_at
    FROM unnest(%s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[],
                %s::int[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[], %s::bigint[], %s::bigint[])
        WITH ORDINALITY
        AS t (exchange, exec_id, order_id, user_id, instrument_id, side, product, quantity, price,
              realized_pnl, unit_margin, exchange_order_id, traded_at, booked_at, place)
    ORDER BY t.place
"""
_WRITE_HOLDS = """
    UPDATE margin_holds h SET unit_margin = w.unit, open_quantity = w.open, close_quantity = w.close,
        state = w.state::hold_state,
        change_id = CASE WHEN w.settled THEN NULL ELSE change_id END,
        changed_unit = CASE WHEN w.settled THEN NULL ELSE changed_unit END,
        kept_unit = CASE WHEN w.settled THEN NULL ELSE kept_unit END
    FROM unnest(%s::bigint[], %s::bigint[], %s::int[], %s::int[], %s::text[], %s::bool[])
        AS w (order_id, unit, open, close, state, settled)
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
    INSERT INTO holdings (user_id, instrument_id, quantity, t1_quantity, blocked_quantity, cost,
                          taken_back_quantity, oversold_quantity, bought_on, bought_quantity, bought_margin)
    SELECT * FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::int[], %s::int[], %s::bigint[], %s::int[],
                         %s::int[], %s::date[], %s::int[], %s::bigint[])
    ON CONFLICT (user_id, instrument_id) DO UPDATE SET quantity = excluded.quantity,
        t1_quantity = excluded.t1_quantity, blocked_quantity = excluded.blocked_quantity,
        cost = excluded.cost, taken_back_quantity = excluded.taken_back_quantity,
        oversold_quantity = excluded.oversold_quantity, bought_on = excluded.bought_on,
        bought_quantity = excluded.bought_quantity, bought_margin = excluded.bought_margin
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
    placed: JournaledOrder
    exchange: str
    report: ExecutionReport
    booked: BookedFill
    unit_margin: int
    """Of the hold."""


class Settled(NamedTuple):
    """A change was answered: the hold is what the order needs as it stands."""

    placed: JournaledOrder
    resized: Resized


class Reopening(NamedTuple):
    """A fill has shrunk what another order was to close: that order's hold opens it instead."""

    placed: JournaledOrder
    """Of the fill."""
    reopened: Reopened


class Released(NamedTuple):
    """The order is final: what was left of its hold."""

    placed: JournaledOrder
    hold: Hold


class Undone(NamedTuple):
    """A trade was taken back or corrected; its rows are storage/books/corrections.py's."""

    placed: JournaledOrder
    used: int
    """Change of used margin."""
    realized_pnl: int
    """Change of the day's realised profit."""


Entry = Fill | Settled | Reopening | Released | Undone


async def write(conn: Connection, books: dict[int, UserBooks], entries: Sequence[Entry]) -> None:
    """Write what the entries, applied in their order, have made of the books."""
    now = time.time_ns()
    if not entries:
        return
    fills = [entry for entry in entries if isinstance(entry, Fill)]
    if fills:
        await conn.execute(_WRITE_TRADES, columns(_trade(fill, now) for fill in fills))
        await ledger.post(conn, (row for fill in fills for row in _postings(fill, now)))
    touched = {(e.placed.user_id, e.placed.terms.instrument_id, e.placed.terms.product) for e in entries}
    held = [
        (user_id, instrument_id, *astuple(h))
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
    if holds := _holds(books, entries):
        await conn.execute(_WRITE_HOLDS, columns(holds))
    await conn.execute(_WRITE_LEDGERS, columns(_ledgers(entries, now)))


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
        fill.booked.unit_margin,
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


def _holds(books: dict[int, UserBooks], entries: Sequence[Entry]) -> list[tuple[Any, ...]]:
    given_back = {entry.placed.order_id for entry in entries if isinstance(entry, Released)}
    settled = {entry.placed.order_id for entry in entries if isinstance(entry, Settled)}
    rows = []
    moved = [entry for entry in entries if not isinstance(entry, Undone)]
    for order_id, user_id in {_held_by(entry): entry.placed.user_id for entry in moved}.items():
        hold = books[user_id].holds.get(order_id)
        if hold is None:
            continue
        consumed = hold.open_quantity == hold.close_quantity == 0
        state = "RELEASED" if order_id in given_back else "CONSUMED" if consumed else "BLOCKED"
        is_settled = order_id in settled or order_id in given_back
        rows.append((order_id, hold.unit_margin, hold.open_quantity, hold.close_quantity, state, is_settled))
    return rows


def _held_by(entry: Entry) -> int:
    """The order whose hold it changes."""
    return entry.reopened.order_id if isinstance(entry, Reopening) else entry.placed.order_id


def _ledgers(entries: Sequence[Entry], now: int) -> list[tuple[int, ...]]:
    """Change of blocked, used and realised by user."""
    changes: dict[int, list[int]] = {}
    for entry in entries:
        change = changes.setdefault(entry.placed.user_id, [0, 0, 0])
        if isinstance(entry, Fill):
            use = entry.booked.use
            change[0] -= use.open_quantity * entry.unit_margin
            change[1] += use.used
            change[2] += use.realized_pnl
        elif isinstance(entry, Settled):
            change[0] += entry.resized.after.blocked - entry.resized.before.blocked
        elif isinstance(entry, Reopening):
            change[0] += entry.reopened.after.blocked - entry.reopened.before.blocked
        elif isinstance(entry, Undone):
            change[1] += entry.used
            change[2] += entry.realized_pnl
        else:
            change[0] -= entry.hold.blocked
    return [(user_id, *change, now) for user_id, change in changes.items()]
