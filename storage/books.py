"""Booking: what the exchange reported becomes trades, positions, holdings, postings and margin, once.

One transaction under the ledger rows' locks books every report of its orders that is not booked yet and
gives back what is left of a final order's hold. The margin view follows inside the locks, before the commit:
a crash between the two repeats the same fill id, which the view has already. ExecID is the key. The steps
themselves are in domain/booking.py; called by the order worker, in groups.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from domain.instruments import InstrumentKind
from domain.orders import OrderStatus, PlacedOrder
from domain.reports import CORRECTIONS, CancelRejected, ExecType, ExecutionReport
from storage import book_entries, book_reads, corrections, shortfalls
from storage.arrivals import report_of
from storage.book_entries import Entry, Fill, Released, Reopening, Settled
from storage.book_reads import Touched
from storage.database import Connection
from storage.margin_book import FillStep, ReleaseStep, ResizeStep, Step
from storage.portfolios import Portfolios
from storage.risk_alerts import RiskAlert

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
    SELECT o.order_id, status, quantity - taken_back_quantity AS quantity, filled_quantity, exchange_order_id,
           reject_code, reject_reason, seq, exchange, report,
           (SELECT kind FROM instruments n WHERE n.instrument_id = o.instrument_id) AS kind,
           (SELECT cl_ord_id FROM exchange_outbox x WHERE x.order_id = o.order_id AND kind = 'REPLACE'
            AND withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL) AS withdrawn_change
    FROM orders o LEFT JOIN due USING (order_id) WHERE o.order_id = ANY(%(order_ids)s) ORDER BY seq
"""
_CHANGES_ENDED = "UPDATE exchange_outbox SET answered_at_ns = %s WHERE cl_ord_id = ANY(%s::text[])"


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
    corrections: list[ExecutionReport] = field(default_factory=list)
    """Trades taken back or put right now: the margin view is of an old generation."""
    alerts: list[RiskAlert] = field(default_factory=list)
    """That this has left its account short; to be told after the commit."""


class _Told(NamedTuple):
    """One due report of an order."""

    placed: PlacedOrder
    exchange: str
    report: ExecutionReport | CancelRejected
    row: dict[str, Any]


async def book(
    conn: Connection, portfolios: Portfolios, orders: Sequence[PlacedOrder], intraday_percent: int
) -> list[Standing]:
    """Book what is due of each order. Raises ValueError when a fill is larger than its hold."""
    placed = {order.order_id: order for order in orders}
    locked = await conn.execute(_LOCK_LEDGERS, (sorted({order.user_id for order in orders}),))
    generations = {row["user_id"]: row["generation"] for row in await locked.fetchall()}
    due = await conn.execute(_DUE, {"now": time.time_ns(), "order_ids": list(placed)})
    rows = await due.fetchall()
    standings = {row["order_id"]: _standing(row) for row in rows}
    told = [
        _Told(placed[row["order_id"]], row["exchange"], report_of(row["report"]), row)
        for row in rows
        if row["seq"] is not None
    ]
    moving = [one for one in told if _is_fill(one.report) or _answers_change(one.report)]
    undoing = [one for one in told if _corrects(one.report)]
    final = [order_id for order_id, standing in standings.items() if standing.status.is_final]
    withdrawn = {row["order_id"]: row for row in rows if row["withdrawn_change"]}
    if moving or final or undoing or withdrawn:
        touched = {*final, *withdrawn, *(one.placed.order_id for one in moving + undoing)}
        read = await book_reads.read(conn, [placed[i] for i in touched])
        entries = [entry for one in moving for entry in _entries(read, one, moving, intraday_percent)]
        for entry in entries:
            if isinstance(entry, Fill):
                standings[entry.placed.order_id].fills.append(entry.report)
        entries += [_kept(read, placed[i], row) for i, row in withdrawn.items() if i not in final]
        entries += [
            Released(placed[i], hold)
            for i in final
            if (hold := read.books[placed[i].user_id].close(i, placed[i].terms)) is not None
        ]
        await book_entries.write(conn, read.books, entries)
        if withdrawn:
            ended = [row["withdrawn_change"] for row in withdrawn.values()]
            await conn.execute(_CHANGES_ENDED, (time.time_ns(), ended))
        steps = [_view_step(entry, generations[entry.placed.user_id]) for entry in entries]
        await portfolios.view.follow(steps)
        before = await shortfalls.available(conn, {one.placed.user_id for one in undoing})
        await _correct(conn, read, undoing, standings, intraday_percent)
        moved = [*(entry.placed for entry in entries), *(one.placed for one in undoing)]
        await portfolios.remargin(conn, {order.user_id for order in moved if portfolios.concern(order)})
        await _warn(conn, undoing, before, standings)
    return [standings[order.order_id] for order in orders]


async def _correct(
    conn: Connection,
    read: Touched,
    undoing: Sequence[_Told],
    standings: dict[int, Standing],
    intraday_percent: int,
) -> None:
    """Busts and corrections, each once the fills before it are in the books."""
    for placed, exchange, report, row in undoing:
        assert isinstance(report, ExecutionReport)
        books, kind = read.books[placed.user_id], InstrumentKind(row["kind"])
        entries = await corrections.book(conn, books, placed, kind, exchange, report, intraday_percent)
        await book_entries.write(conn, read.books, entries)
        standings[placed.order_id].corrections.append(report)
    if undoing:
        await corrections.void_views(conn, sorted({one.placed.user_id for one in undoing}))


async def _warn(
    conn: Connection, undoing: Sequence[_Told], before: dict[int, int], standings: dict[int, Standing]
) -> None:
    """Of accounts that busts and corrections leave short, once all of the batch is in the books."""
    undone: dict[int, list[str]] = {}
    for placed, _, report, _ in undoing:
        assert isinstance(report, ExecutionReport)
        undone.setdefault(placed.user_id, []).append(report.reference_exec_id or "")
    last = {one.placed.user_id: one.placed.order_id for one in undoing}
    for alert in await shortfalls.warn(conn, before, undone):
        standings[last[alert.user_id]].alerts.append(alert)


def _standing(row: dict[str, Any]) -> Standing:
    return Standing(
        OrderStatus(row["status"]),
        row["filled_quantity"],
        row["exchange_order_id"],
        row["reject_code"],
        row["reject_reason"],
    )


def _is_fill(report: ExecutionReport | CancelRejected) -> bool:
    return isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE


def _corrects(report: ExecutionReport | CancelRejected) -> bool:
    return isinstance(report, ExecutionReport) and report.exec_type in CORRECTIONS


def _answers_change(report: ExecutionReport | CancelRejected) -> bool:
    if isinstance(report, CancelRejected):
        return report.response_to_replace
    return report.exec_type is ExecType.REPLACED


def _entries(read: Touched, one: _Told, moving: Sequence[_Told], intraday_percent: int) -> Iterator[Entry]:
    """Apply one report to the books."""
    placed, report = one.placed, one.report
    books = read.books[placed.user_id]
    if isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE:
        hold = books.holds.get(placed.order_id)
        booked = books.book_fill(
            placed.order_id,
            placed.terms,
            InstrumentKind(one.row["kind"]),
            report.last_quantity,
            report.last_price,
            intraday_percent,
        )
        yield Fill(placed, one.exchange, report, booked, hold.unit_margin if hold else 0)
        step_id = f"reopened:{one.exchange}:{report.exec_id}"
        yield from (Reopening(placed, step_id, changed) for changed in books.reopen(placed.terms))
        return
    if placed.order_id not in read.changed_units:
        return
    changed, kept = read.changed_units.pop(placed.order_id)
    if isinstance(report, ExecutionReport):
        unit, filled = changed, report.cumulative_quantity
        quantity = filled + report.leaves_quantity
    else:
        unit, quantity, filled = kept, one.row["quantity"], _filled_before(one, moving)
    resized = books.settle(placed.order_id, placed.terms, unit, quantity, filled)
    yield Settled(placed, f"settled:{report.cl_ord_id}", resized)


def _kept(read: Touched, placed: PlacedOrder, row: dict[str, Any]) -> Settled:
    """The change never left: the order stands as it is, every report of it booked."""
    _, kept = read.changed_units.pop(placed.order_id)
    books, quantity, filled = read.books[placed.user_id], row["quantity"], row["filled_quantity"]
    resized = books.settle(placed.order_id, placed.terms, kept, quantity, filled)
    return Settled(placed, f"settled:{row['withdrawn_change']}", resized)


def _filled_before(one: _Told, moving: Sequence[_Told]) -> int:
    """What the order had filled when this report was told: a refusal does not say it itself."""
    later = moving[moving.index(one) + 1 :]
    same = [t.report for t in later if t.placed.order_id == one.placed.order_id]
    since = sum(r.last_quantity for r in same if isinstance(r, ExecutionReport) and _is_fill(r))
    return int(one.row["filled_quantity"]) - since


def _view_step(entry: Entry, generation: int) -> Step:
    """What the margin view must do for it."""
    user_id, order_id = entry.placed.user_id, entry.placed.order_id
    if isinstance(entry, Fill):
        fill_id = f"{entry.exchange}:{entry.report.exec_id}"
        return FillStep(user_id, order_id, fill_id, entry.booked.use, generation)
    if isinstance(entry, Settled):
        return ResizeStep(user_id, order_id, entry.step_id, entry.resized.after, generation)
    if isinstance(entry, Reopening):
        hold = entry.reopened
        return ResizeStep(user_id, hold.order_id, entry.step_id, hold.after, generation)
    return ReleaseStep(user_id, order_id, generation)
