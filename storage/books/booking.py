"""Booking: what the exchange reported becomes trades, positions, holdings, postings and margin, once.

One transaction under the ledger rows' locks books every report of its users that is not booked yet and gives
back what is left of a final order's hold. Whoever needs the books of an account may do it, in whatever
process; an order's workflow also learns what was booked of it. The margin view follows inside the locks,
before the commit: a crash between the two repeats the same fill id, which the view has already. ExecID is the
key. The steps themselves are in domain/booking.py; called by the order worker in groups, and by
storage/books/keeping.py.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from domain.orders import OrderStatus, PlacedOrder
from domain.reports import CORRECTIONS, CancelRejected, ExecType, ExecutionReport
from domain.time import trade_date
from storage.books import book_alerts, book_rows, corrections, snapshot
from storage.books.book_rows import Entry, Fill, Released, Reopening, Settled
from storage.books.snapshot import Touched
from storage.database import Connection
from storage.journals import unbooked
from storage.journals.unbooked import DueReport, JournaledOrder, UnbookedReports
from storage.margin.accounts import void_views
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import FillStep, ReleaseStep, ResizeStep, Step
from storage.risk.risk_alerts import RiskAlert

_LOCK_LEDGERS = """
    SELECT user_id, generation, available_cash FROM margin_ledger WHERE user_id = ANY(%s)
    ORDER BY user_id FOR UPDATE
"""


@dataclass(frozen=True, slots=True)
class BookedOrder:
    """An order after booking."""

    status: OrderStatus
    filled_quantity: int
    exchange_order_id: str | None
    reject_code: str | None
    reject_reason: str | None
    fills: list[ExecutionReport] = field(default_factory=list)
    """New to the order's workflow, in the order of the reports."""
    corrections: list[ExecutionReport] = field(default_factory=list)
    """Trades taken back or put right, new to the workflow."""


@dataclass(frozen=True, slots=True)
class BookingResult:
    """What a booking did; the rest is to be done after the commit."""

    standings: dict[int, BookedOrder]
    """By order id: the followed ones."""
    alerts: list[RiskAlert] = field(default_factory=list)
    """For the risk desk: accounts left short, trades that the books cannot explain."""
    voided: list[int] = field(default_factory=list)
    """Users whose margin view is of an old generation now: to be built anew."""


async def book(
    conn: Connection, portfolios: DerivativeMargins, orders: Sequence[PlacedOrder], intraday_percent: int
) -> BookingResult:
    """Book what is due of these orders' users, and let the orders' workflows know."""
    user_ids, followed = {order.user_id for order in orders}, [order.order_id for order in orders]
    return await catch_up(conn, portfolios, user_ids, intraday_percent, followed)


async def catch_up(
    conn: Connection,
    portfolios: DerivativeMargins,
    user_ids: Collection[int],
    intraday_percent: int,
    followed: Sequence[int] = (),
) -> BookingResult:
    """Bring the books of these users up to the journals. Their ledger rows are locked from here on."""
    locked = await conn.execute(_LOCK_LEDGERS, (sorted(user_ids),))
    ledgers = {row["user_id"]: row for row in await locked.fetchall()}
    generations = {user_id: row["generation"] for user_id, row in ledgers.items()}
    available = {user_id: row["available_cash"] for user_id, row in ledgers.items()}
    due = await unbooked.take(conn, user_ids, followed)
    booked = BookingResult({order_id: _standing(due, order_id) for order_id in followed})
    reports = [one for one in due.reports if one.is_unbooked]
    withdrawn = [order for order in due.orders.values() if order.is_withdrawn]
    if reports or withdrawn:
        work = _Work(due, reports, withdrawn, generations, available, intraday_percent)
        await _book(conn, portfolios, work, booked)
    return booked


@dataclass(frozen=True, slots=True)
class _Work:
    """What one booking has before it."""

    due: UnbookedReports
    reports: list[DueReport]
    """Not booked yet."""
    withdrawn: list[JournaledOrder]
    generations: dict[int, int]
    """Of each ledger, by user."""
    available: dict[int, int]
    """Cash before the booking, by user."""
    intraday_percent: int

    @property
    def moving(self) -> list[DueReport]:
        """Fills, and answers to changes."""
        return [one for one in self.reports if _is_fill(one.report) or _answers_change(one.report)]

    @property
    def undoing(self) -> list[DueReport]:
        return [one for one in self.reports if _corrects(one.report)]

    @property
    def final(self) -> list[JournaledOrder]:
        """Orders that may have something left of their hold."""
        ids = {one.order.order_id for one in self.reports} | {order.order_id for order in self.withdrawn}
        return [order for i in sorted(ids) if (order := self.due.orders[i]).status.is_final]


async def _book(conn: Connection, portfolios: DerivativeMargins, work: _Work, booked: BookingResult) -> None:
    moving, undoing, final = work.moving, work.undoing, work.final
    orders = {one.order.order_id: one.order for one in (*moving, *undoing)}
    orders |= {order.order_id: order for order in (*work.withdrawn, *final)}
    if not orders:
        return
    read = await snapshot.read(conn, list(orders.values()))
    entries = [entry for one in moving for entry in _entries(read, one, moving, work.intraday_percent)]
    entries += [kept for order in work.withdrawn if order not in final for kept in _kept(read, order)]
    entries += [
        Released(order, hold)
        for order in final
        if (hold := read.books[order.user_id].close(order.order_id, order.terms)) is not None
    ]
    await book_rows.write(conn, read.books, entries)
    await portfolios.view.follow(
        [_view_step(entry, work.generations[entry.placed.user_id]) for entry in entries]
    )
    for one in undoing:
        undone = await corrections.book(conn, read.books[one.order.user_id], one, work.intraday_percent)
        await book_rows.write(conn, read.books, undone)
    if undoing:
        booked.voided.extend(sorted({one.order.user_id for one in undoing}))
        await void_views(conn, booked.voided)
    derivatives = {order.user_id for order in orders.values() if order.kind.is_derivative}
    await portfolios.remargin(conn, derivatives)
    booked.alerts.extend(await book_alerts.warn(conn, work.available, entries, undoing))


def _standing(due: UnbookedReports, order_id: int) -> BookedOrder:
    order = due.orders[order_id]
    reports = [one.report for one in due.reports if one.order.order_id == order_id]
    executions = [report for report in reports if isinstance(report, ExecutionReport)]
    return BookedOrder(
        order.status,
        order.filled_quantity,
        order.exchange_order_id,
        order.reject_code,
        order.reject_reason,
        [report for report in executions if report.exec_type is ExecType.TRADE],
        [report for report in executions if report.exec_type in CORRECTIONS],
    )


def _is_fill(report: ExecutionReport | CancelRejected) -> bool:
    return isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE


def _corrects(report: ExecutionReport | CancelRejected) -> bool:
    return isinstance(report, ExecutionReport) and report.exec_type in CORRECTIONS


def _answers_change(report: ExecutionReport | CancelRejected) -> bool:
    if isinstance(report, CancelRejected):
        return report.response_to_replace
    return report.exec_type is ExecType.REPLACED


def _entries(read: Touched, one: DueReport, moving: Sequence[DueReport], percent: int) -> Iterator[Entry]:
    """Apply one report to the books."""
    order, report = one.order, one.report
    books = read.books[order.user_id]
    if isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE:
        hold = books.holds.get(order.order_id)
        traded = (report.last_quantity, report.last_price, percent, trade_date(report.transact_time_ns))
        booked = books.book_fill(order.order_id, order.terms, order.kind, *traded)
        yield Fill(order, one.exchange, report, booked, hold.unit_margin if hold else 0)
        yield from (Reopening(order, changed) for changed in books.reopen(order.terms))
        return
    pending = read.changes.get(order.order_id)
    if pending is None or pending.cl_ord_id != report.cl_ord_id:
        return
    del read.changes[order.order_id]
    if isinstance(report, ExecutionReport):
        unit, filled = pending.changed_unit, report.cumulative_quantity
        quantity = filled + report.leaves_quantity
    else:
        unit, quantity, filled = pending.kept_unit, order.quantity, _filled_before(one, moving)
    resized = books.settle(order.order_id, order.terms, unit, quantity, filled)
    yield Settled(order, resized)


def _kept(read: Touched, order: JournaledOrder) -> Iterator[Settled]:
    """A change that never left: the order stands as it is, every report of it booked."""
    pending = read.changes.get(order.order_id)
    if pending is not None and pending.cl_ord_id == order.withdrawn_change:
        del read.changes[order.order_id]
        sizes = (pending.kept_unit, order.quantity, order.filled_quantity)
        resized = read.books[order.user_id].settle(order.order_id, order.terms, *sizes)
        yield Settled(order, resized)


def _filled_before(one: DueReport, moving: Sequence[DueReport]) -> int:
    """What the order had filled when this report came: a refusal does not say it itself."""
    later = moving[moving.index(one) + 1 :]
    same = [other.report for other in later if other.order.order_id == one.order.order_id]
    since = sum(r.last_quantity for r in same if isinstance(r, ExecutionReport) and _is_fill(r))
    return one.order.filled_quantity - since


def _view_step(entry: Entry, generation: int) -> Step:
    """What the margin view must do for it."""
    user_id, order_id = entry.placed.user_id, entry.placed.order_id
    if isinstance(entry, Fill):
        fill_id = f"{entry.exchange}:{entry.report.exec_id}"
        return FillStep(user_id, order_id, fill_id, entry.booked.use, entry.booked.left, generation)
    if isinstance(entry, Settled):
        return ResizeStep(user_id, order_id, entry.resized.after, generation)
    if isinstance(entry, Reopening):
        hold = entry.reopened
        return ResizeStep(user_id, hold.order_id, hold.after, generation)
    return ReleaseStep(user_id, order_id, generation)
