"""Trades taken back or put right after the fact: ExecType H and G, FIX 4.2's ExecTransType 1 and 2.

Both sides of the trade hear of it. Quantity taken back does not return to the market: an order that still
works keeps what is open, one that is done ends as CANCELLED. A correction names the execution that stood
last (ExecRefID 19) and can itself be corrected or busted. Asked by the control socket, by way of floor.py.
"""

from dataclasses import replace

from domain.reports import ExecType, ExecutionReport, OrdStatus
from exchange.simulator.control import ControlRefused
from exchange.simulator.execution_reports import other_side, trade_side
from exchange.simulator.venue import WORKING, Addressed, Venue


def bust(venue: Venue, exec_id: str, now_ns: int) -> list[Addressed]:
    """Take a trade back. Raises ControlRefused."""
    trades, number = _sides(venue, exec_id), venue.next_number(now_ns)
    return [_tell(venue, trade, number, 0, trade.last_price, now_ns) for trade in trades]


def correct(venue: Venue, exec_id: str, quantity: int, price: int, now_ns: int) -> list[Addressed]:
    """Give a trade another price or a smaller quantity. Raises ControlRefused."""
    trades = _sides(venue, exec_id)
    row = venue.instruments[trades[0].symbol]
    if not 0 < quantity <= trades[0].last_quantity or quantity % row.lot_size:
        raise ControlRefused(f"{quantity} is no quantity for a trade of {trades[0].last_quantity}")
    if price <= 0 or price % row.tick_size:
        raise ControlRefused(f"{price} paise is no price on a tick of {row.tick_size}")
    number = venue.next_number(now_ns)
    return [_tell(venue, trade, number, quantity, price, now_ns) for trade in trades]


def _sides(venue: Venue, exec_id: str) -> list[ExecutionReport]:
    """The trade's sides that belong to brokers, the named one first."""
    if exec_id not in venue.trades or exec_id in venue.undone:
        raise ControlRefused(f"{exec_id[:40]!r} is no trade that stands")
    return [venue.trades[i] for i in (exec_id, other_side(exec_id)) if i in venue.trades]


def _tell(
    venue: Venue, trade: ExecutionReport, number: str, quantity: int, price: int, now_ns: int
) -> Addressed:
    """The order's next report; quantity 0 takes the trade back."""
    entry, busted = venue.requests[trade.cl_ord_id], quantity == 0
    last = entry.report
    traded = last.cumulative_quantity - trade.last_quantity + quantity
    entry.report = replace(
        last,
        exec_id=trade_side(number, trade.side),
        exec_type=ExecType.TRADE_CANCEL if busted else ExecType.TRADE_CORRECT,
        ord_status=_status(last, traded, trade.last_quantity - quantity),
        orig_cl_ord_id=None,
        cumulative_quantity=traded,
        last_quantity=trade.last_quantity if busted else quantity,
        last_price=price,
        reject_reason=None,
        stop=False,
        text=None,
        transact_time_ns=now_ns,
        reference_exec_id=trade.exec_id,
    )
    venue.undone.add(trade.exec_id)
    if not busted:
        venue.trades[entry.report.exec_id] = entry.report
    return Addressed(entry.session, entry.report)


def _status(last: ExecutionReport, traded: int, taken_back: int) -> OrdStatus:
    if last.ord_status in WORKING:
        return OrdStatus.PARTIALLY_FILLED if traded else OrdStatus.NEW
    short = last.ord_status is OrdStatus.FILLED and taken_back
    return OrdStatus.CANCELLED if short else last.ord_status
