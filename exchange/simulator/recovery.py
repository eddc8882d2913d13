"""An exchange rebuilt from what it told: every journaled step taken as it was, then the books filled.

Invariant: after `rest` each working order has the quantity, terms and priority of before, and each class
the phase of before. What nobody was told of (participants' quotes) is made anew. Called by floor.py.
"""

from domain.instructions import NewOrder
from domain.orders import OrderType
from domain.reports import BandSet, CancelRejected, ExecType, ExecutionReport, MarketPhase, SessionPhase
from domain.sessions import SessionClass
from exchange.simulator.execution_reports import NO_ORDER, BrokerOrder, fresh_order, serial_of
from exchange.simulator.journal import JournalStep
from exchange.simulator.matching.ladder import Order
from exchange.simulator.venue import WORKING, Venue

_TRADES = frozenset({ExecType.TRADE, ExecType.TRADE_CORRECT})
_REPLACED_TRADES = frozenset({ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT})


def restore(venue: Venue, step: JournalStep) -> None:
    """Take one step as it was."""
    venue.prices.update(step.prices)
    for _, report in step.told:
        match report:
            case SessionPhase():
                venue.sessions[SessionClass(report.session_class or "")] = report
            case ExecutionReport():
                _take(venue, step, report)
            case CancelRejected() | BandSet():
                continue  # the order is untouched; bands follow from the steps' requests


def rest(venue: Venue) -> None:
    """Put every restored working order back into its book, oldest priority first."""
    for entry in venue.orders.values():
        if entry.report.ord_status in WORKING:
            symbol = entry.request.symbol
            venue.books[symbol].rest(_as_resting(venue, entry), entry.report.leaves_quantity)


def _take(venue: Venue, step: JournalStep, report: ExecutionReport) -> None:
    venue.serial = max(venue.serial, serial_of(report.exec_id), serial_of(report.exchange_order_id))
    if report.exec_type is ExecType.ORDER_STATUS or report.exchange_order_id == NO_ORDER:
        return  # an answer about an order, or about none
    entry = venue.requests.get(report.orig_cl_ord_id or report.cl_ord_id)
    if entry is None:
        assert isinstance(step.request, NewOrder), "an order begins with its request"
        entry = BrokerOrder(step.session, step.request, fresh_order(step.request, report), report)
        venue.orders[entry.order.order_id] = entry
    if _loses_priority(entry.report, report):
        venue.orders[entry.order.order_id] = venue.orders.pop(entry.order.order_id)
    venue.requests[report.cl_ord_id] = entry
    entry.report = report
    if report.exec_type in _REPLACED_TRADES and report.reference_exec_id:
        venue.undone.add(report.reference_exec_id)
    if report.exec_type in _TRADES:
        venue.trades[report.exec_id] = report
    if report.exec_type is ExecType.TRADE:
        venue.books[report.symbol].last_price = report.last_price


def _loses_priority(before: ExecutionReport, after: ExecutionReport) -> bool:
    if after.exec_type is ExecType.TRIGGERED:
        return True
    same = (before.price, before.trigger_price) == (after.price, after.trigger_price)
    return after.exec_type is ExecType.REPLACED and not (same and after.quantity < before.quantity)


def _as_resting(venue: Venue, entry: BrokerOrder) -> Order:
    """The order as its latest report left it."""
    order, last = entry.order, entry.report
    order.quantity = last.quantity
    order.trigger = (last.trigger_price or 0) if last.stop else 0
    order.price = last.price or (0 if last.stop else _unpriced(venue, entry))
    if last.stop:
        order.order_type = OrderType.SL if order.price else OrderType.SL_M
    else:
        order.order_type = OrderType.LIMIT if order.price else OrderType.MARKET
    return order


def _unpriced(venue: Venue, entry: BrokerOrder) -> int:
    """Where an order rests that was told no price: at the close, or in a call before every price."""
    symbol = entry.request.symbol
    return venue.prices[symbol] if venue.phase_of(symbol) is MarketPhase.POST_CLOSE else 0
