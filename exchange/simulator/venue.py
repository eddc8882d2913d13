"""The exchange as brokers see it: requests in, execution reports out. Pure: time is passed in.

Invariants: a ClOrdID makes at most one order, whatever is repeated; every change of a broker's order is
one report with an ExecID of its own; what the reports say is all that is needed to rebuild the venue
(`restore`), so the journal of reports is its memory. One thread calls it: exchange/simulator/market.py.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.instruments import Instrument
from domain.orders import OrderType
from domain.reports import CancelRejected, ExecType, ExecutionReport, MarketPhase, OrdStatus
from exchange.simulator import events as happened
from exchange.simulator.book import OrderBook
from exchange.simulator.entry_rules import DUPLICATE_ORDER, refusal
from exchange.simulator.execution_reports import (
    NO_ORDER,
    Entry,
    OrderReport,
    cancel_rejected,
    fresh_order,
    next_report,
    number,
    present,
    rejected,
    serial_of,
    unknown,
)
from exchange.simulator.ladder import Order

CANCEL_DUPLICATE = 6
CANCEL_EXCHANGE_OPTION = 2
DUPLICATE = (DUPLICATE_ORDER, "DUPLICATE_ORDER: this ClOrdID was used before")
WORKING = frozenset({OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED})


class Addressed(NamedTuple):
    """A report and the session it is owed to."""

    session: str
    report: OrderReport


@dataclass(slots=True)
class Venue:
    exchange: str
    instruments: dict[str, Instrument]
    phase: MarketPhase = MarketPhase.CONTINUOUS
    on_trade: Callable[[str, happened.Traded], None] | None = None
    """Told (symbol, trade) of every match, brokers' or not: the tape."""
    books: dict[str, OrderBook] = field(init=False)
    orders: dict[int, Entry] = field(init=False, default_factory=dict)
    requests: dict[str, Entry] = field(init=False, default_factory=dict)
    """By every ClOrdID that was ever taken."""
    serial: int = 0
    """Last number given to an order or an execution."""

    def __post_init__(self) -> None:
        self.books = {symbol: OrderBook(row.previous_close) for symbol, row in self.instruments.items()}

    def handle(self, session: str, instruction: Instruction, repeated: bool, now_ns: int) -> list[Addressed]:
        """Answer a request; `repeated` is PossResend (97) or PossDup (43) of its header."""
        match instruction:
            case NewOrder():
                return self._new(session, instruction, repeated, now_ns)
            case CancelOrder():
                return self._change(session, instruction, repeated, now_ns)
            case ReplaceOrder():
                return self._change(session, instruction, repeated, now_ns)
            case StatusRequest():
                entry = self.requests.get(instruction.cl_ord_id)
                exec_id = self._number(now_ns)
                answer = present(entry, instruction.cl_ord_id, exec_id, now_ns) if entry else None
                return [Addressed(session, answer or unknown(instruction, exec_id, now_ns))]

    def participate(self, symbol: str, order: Order, now_ns: int) -> list[Addressed]:
        """An order of nobody's broker (its id is negative); returns what it meant to brokers' orders."""
        return self._tell(symbol, self.books[symbol].enter(order), now_ns)

    def print_trade(self, symbol: str, price: int, now_ns: int) -> list[Addressed]:
        """A last price from outside the book; stops may trigger."""
        return self._tell(symbol, self.books[symbol].print_trade(price), now_ns)

    def expire_day(self, now_ns: int) -> list[Addressed]:
        """The day is over: every working order of a broker ends."""
        working = [(i, e.request.symbol) for i, e in self.orders.items() if e.report.ord_status in WORKING]
        return [
            told
            for order_id, symbol in working
            for told in self._tell(symbol, self.books[symbol].expire(order_id), now_ns)
        ]

    def restore(self, session: str, instruction: Instruction | None, reports: Iterable[OrderReport]) -> None:
        """Take one journaled step as it was; `rest` puts the working orders into the books afterwards."""
        for report in reports:
            if isinstance(report, CancelRejected):
                continue  # the order is untouched
            self.serial = max(self.serial, serial_of(report.exec_id), serial_of(report.exchange_order_id))
            if report.exec_type is ExecType.ORDER_STATUS or report.exchange_order_id == NO_ORDER:
                continue  # an answer about an order, or about none
            entry = self.requests.get(report.orig_cl_ord_id or report.cl_ord_id)
            if entry is None:
                assert isinstance(instruction, NewOrder), "an order begins with its request"
                entry = Entry(session, instruction, fresh_order(instruction, report), report)
                self.orders[entry.order.order_id] = entry
            if _loses_priority(entry.report, report):
                self.orders[entry.order.order_id] = self.orders.pop(entry.order.order_id)
            self.requests[report.cl_ord_id] = entry
            entry.report = report

    def rest(self) -> None:
        """Put every restored working order back into its book, oldest priority first."""
        for entry in self.orders.values():
            if entry.report.ord_status in WORKING:
                self.books[entry.request.symbol].rest(_as_resting(entry), entry.report.leaves_quantity)

    def _new(self, session: str, request: NewOrder, repeated: bool, now_ns: int) -> list[Addressed]:
        known = self.requests.get(request.cl_ord_id)
        if known is not None:
            if repeated:
                return [Addressed(session, present(known, request.cl_ord_id, self._number(now_ns), now_ns))]
            refused = rejected(request, self._number(now_ns), NO_ORDER, *DUPLICATE, now_ns)
            return [Addressed(session, refused)]
        broken = refusal(request, self.instruments.get(request.symbol), self.phase)
        reason, text = broken or (None, None)
        order_id, exec_id = self._number(now_ns), self._number(now_ns)
        report = rejected(request, exec_id, order_id, reason, text, now_ns)
        entry = Entry(session, request, fresh_order(request, report), report)
        self.orders[entry.order.order_id] = self.requests[request.cl_ord_id] = entry
        if broken:
            return [Addressed(session, report)]
        return self._tell(request.symbol, self.books[request.symbol].enter(entry.order), now_ns)

    def _change(
        self, session: str, request: CancelOrder | ReplaceOrder, repeated: bool, now_ns: int
    ) -> list[Addressed]:
        entry = self.requests.get(request.orig_cl_ord_id)
        taken = self.requests.get(request.cl_ord_id)
        if taken is not None and repeated:
            return [Addressed(session, present(taken, request.cl_ord_id, self._number(now_ns), now_ns))]
        refused = self._change_refusal(request, entry, taken)
        if refused:
            return [Addressed(session, cancel_rejected(request, entry, *refused))]
        assert entry is not None
        book, order_id = self.books[entry.request.symbol], entry.order.order_id
        self.requests[request.cl_ord_id] = entry
        entry.report = replace(
            entry.report, cl_ord_id=request.cl_ord_id, orig_cl_ord_id=request.orig_cl_ord_id
        )
        if isinstance(request, CancelOrder):
            return self._tell(entry.request.symbol, book.cancel(order_id), now_ns)
        terms = (request.quantity, request.order_type, request.price or 0, request.trigger_price or 0)
        return self._tell(entry.request.symbol, book.replace(order_id, *terms), now_ns)

    def _change_refusal(
        self, request: CancelOrder | ReplaceOrder, entry: Entry | None, taken: Entry | None
    ) -> tuple[int, str] | None:
        """(CxlRejReason, Text), or None when the change may go to the book."""
        if taken is not None:
            return CANCEL_DUPLICATE, DUPLICATE[1]
        if entry is None:
            return happened.UNKNOWN_ORDER, f"UNKNOWN_ORDER: no order {request.orig_cl_ord_id}"
        if entry.report.ord_status not in WORKING:
            return happened.TOO_LATE, f"TOO_LATE: the order is {entry.report.ord_status.name}"
        if isinstance(request, ReplaceOrder):
            if request.quantity <= entry.report.cumulative_quantity:
                return happened.TOO_LATE, "TOO_LATE: that quantity has already traded"
            broken = refusal(request, self.instruments.get(entry.request.symbol), self.phase)
            if broken:
                return CANCEL_EXCHANGE_OPTION, broken[1]
        return None

    def _tell(self, symbol: str, events: list[happened.Event], now_ns: int) -> list[Addressed]:
        told: list[Addressed] = []
        for event in events:
            if isinstance(event, happened.Traded):
                if self.on_trade is not None:
                    self.on_trade(symbol, event)
                sides = (
                    (event.aggressor_id, event.aggressor_leaves),
                    (event.resting_id, event.resting_leaves),
                )
                for order_id, leaves in sides:
                    self._report(order_id, told, now_ns, event, leaves)
            elif not isinstance(event, happened.Refused):
                self._report(event.order_id, told, now_ns, event, None)
        return told

    def _report(
        self, order_id: int, told: list[Addressed], now_ns: int, event: happened.Event, leaves: int | None
    ) -> None:
        entry = self.orders.get(order_id)
        if entry is None:
            return
        entry.report = replace(
            next_report(entry, event, leaves), exec_id=self._number(now_ns), transact_time_ns=now_ns
        )
        told.append(Addressed(entry.session, entry.report))

    def _number(self, now_ns: int) -> str:
        self.serial += 1
        return number(now_ns, self.serial)


def _loses_priority(before: ExecutionReport, after: ExecutionReport) -> bool:
    if after.exec_type is ExecType.TRIGGERED:
        return True
    same = (before.price, before.trigger_price) == (after.price, after.trigger_price)
    return after.exec_type is ExecType.REPLACED and not (same and after.quantity < before.quantity)


def _as_resting(entry: Entry) -> Order:
    """The order as its latest report left it."""
    order, last = entry.order, entry.report
    order.quantity = last.quantity
    order.trigger = (last.trigger_price or 0) if last.stop else 0
    # What was left of an unpriced order rests at its last trade's price.
    order.price = last.price or (0 if last.stop else last.last_price)
    if last.stop:
        order.order_type = OrderType.SL if order.price else OrderType.SL_M
    else:
        order.order_type = OrderType.LIMIT
    return order
