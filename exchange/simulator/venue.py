"""The exchange as brokers see it: requests in, execution reports out. Pure: time is passed in.

Invariants: a ClOrdID makes at most one order, whatever is repeated; every change of a broker's order is
one report with an ExecID of its own; what the reports say is all that is needed to rebuild the venue
(recovery.py), so the journal of reports is its memory. One thread calls it, by way of floor.py.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.instruments import Instrument
from domain.orders import OrderType
from domain.reports import Announcement, ExecutionReport, MarketPhase, OrdStatus, SessionPhase
from domain.sessions import SessionClass
from exchange.simulator.entry_rules import DUPLICATE_ORDER, Band, frozen, refusal
from exchange.simulator.execution_reports import (
    NO_ORDER,
    BrokerOrder,
    OrderReport,
    cancel_rejected,
    fresh_order,
    next_report,
    number,
    present,
    rejected,
    trade_side,
    unknown,
)
from exchange.simulator.matching import events as happened
from exchange.simulator.matching.book import OrderBook
from exchange.simulator.matching.ladder import Order

CANCEL_DUPLICATE = 6
CANCEL_EXCHANGE_OPTION = 2
DUPLICATE = (DUPLICATE_ORDER, "DUPLICATE_ORDER: this ClOrdID was used before")
WORKING = frozenset({OrdStatus.NEW, OrdStatus.PARTIALLY_FILLED})
EVERY_SESSION = "*"
_CLOSING = frozenset(
    {
        MarketPhase.CLOSING_REFERENCE,
        MarketPhase.CLOSING_AUCTION,
        MarketPhase.CLOSING_AUCTION_LIMIT,
        MarketPhase.CLOSING_MATCHING,
    }
)


class Addressed(NamedTuple):
    """A report and the session it is owed to, or an announcement and every session."""

    session: str
    report: OrderReport | Announcement


@dataclass(slots=True)
class Venue:
    exchange: str
    instruments: dict[str, Instrument]
    classes: Mapping[str, SessionClass]
    """By symbol."""
    closing_percents: Mapping[SessionClass, int] = field(default_factory=dict)
    """The closing auction's band around its reference price."""
    on_trade: Callable[[str, happened.Traded], None] | None = None
    """Told (symbol, trade) of every match, brokers' or not: the tape."""
    books: dict[str, OrderBook] = field(init=False)
    orders: dict[int, BrokerOrder] = field(init=False, default_factory=dict)
    requests: dict[str, BrokerOrder] = field(init=False, default_factory=dict)
    """By every ClOrdID that was ever taken."""
    trades: dict[str, ExecutionReport] = field(init=False, default_factory=dict)
    """Every side of a trade that was told, by ExecID, corrected ones as well."""
    undone: set[str] = field(init=False, default_factory=set)
    """ExecIDs of trades that were busted or corrected since."""
    sessions: dict[SessionClass, SessionPhase] = field(init=False)
    prices: dict[str, int] = field(init=False, default_factory=dict)
    """Each symbol's reference price of the closing auction, then its closing price."""
    bands: dict[str, Band] = field(init=False, default_factory=dict)
    """Of symbols whose band has moved today."""
    serial: int = 0
    """Last number given to an order or an execution."""

    def __post_init__(self) -> None:
        self.books = {symbol: OrderBook(row.previous_close) for symbol, row in self.instruments.items()}
        self.sessions = {c: self.session(c, MarketPhase.CONTINUOUS, 0) for c in SessionClass}

    def session(
        self, session_class: SessionClass, phase: MarketPhase, since_ns: int, scheduled_ns: int | None = None
    ) -> SessionPhase:
        named = (self.exchange, session_class.segment, phase, since_ns, session_class)
        return SessionPhase(*named, scheduled_ns)

    def phase_of(self, symbol: str) -> MarketPhase:
        """CLOSED for a symbol that is not traded here."""
        session_class = self.classes.get(symbol)
        return self.sessions[session_class].phase if session_class else MarketPhase.CLOSED

    def band_of(self, symbol: str) -> Band:
        """The day's band; in a closing auction no wider than the band around its reference."""
        row = self.instruments[symbol]
        lowest, highest = self.bands.get(symbol, (row.lower_band, row.upper_band))
        percent = self.closing_percents.get(self.classes[symbol])
        reference = self.prices.get(symbol)
        if percent is None or reference is None or self.phase_of(symbol) not in _CLOSING:
            return lowest, highest
        low, high = -(-reference * (100 - percent) // 100), reference * (100 + percent) // 100
        return max(lowest, low), min(highest, high)

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
                exec_id = self.next_number(now_ns)
                answer = present(entry, instruction.cl_ord_id, exec_id, now_ns) if entry else None
                return [Addressed(session, answer or unknown(instruction, exec_id, now_ns))]

    def participate(self, symbol: str, order: Order, now_ns: int) -> list[Addressed]:
        """An order of nobody's broker (its id is negative); returns what it meant to brokers' orders."""
        return self.tell(symbol, self.books[symbol].enter(order), now_ns)

    def print_trade(self, symbol: str, price: int, now_ns: int) -> list[Addressed]:
        """A last price from outside the book; stops may trigger."""
        return self.tell(symbol, self.books[symbol].print_trade(price), now_ns)

    def expire_day(self, now_ns: int) -> list[Addressed]:
        """The day is over: every working order of a broker ends."""
        working = [(i, e.request.symbol) for i, e in self.orders.items() if e.report.ord_status in WORKING]
        return [
            told
            for order_id, symbol in working
            for told in self.tell(symbol, self.books[symbol].expire(order_id), now_ns)
        ]

    def _new(self, session: str, request: NewOrder, repeated: bool, now_ns: int) -> list[Addressed]:
        known = self.requests.get(request.cl_ord_id)
        if known is not None:
            if repeated:
                return [
                    Addressed(session, present(known, request.cl_ord_id, self.next_number(now_ns), now_ns))
                ]
            refused = rejected(request, self.next_number(now_ns), NO_ORDER, *DUPLICATE, now_ns)
            return [Addressed(session, refused)]
        broken = self._refusal(request, request.symbol)
        reason, text = broken or (None, None)
        order_id, exec_id = self.next_number(now_ns), self.next_number(now_ns)
        report = rejected(request, exec_id, order_id, reason, text, now_ns)
        entry = BrokerOrder(session, request, fresh_order(request, report), report)
        self.orders[entry.order.order_id] = self.requests[request.cl_ord_id] = entry
        if broken:
            return [Addressed(session, report)]
        if self.phase_of(request.symbol) is MarketPhase.POST_CLOSE:
            # Market-type orders of the post-close session trade at the closing price alone.
            entry.order.order_type, entry.order.price = OrderType.LIMIT, self.prices[request.symbol]
        return self.tell(request.symbol, self.books[request.symbol].enter(entry.order), now_ns)

    def _change(
        self, session: str, request: CancelOrder | ReplaceOrder, repeated: bool, now_ns: int
    ) -> list[Addressed]:
        entry = self.requests.get(request.orig_cl_ord_id)
        taken = self.requests.get(request.cl_ord_id)
        if taken is not None and repeated:
            return [Addressed(session, present(taken, request.cl_ord_id, self.next_number(now_ns), now_ns))]
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
            return self.tell(entry.request.symbol, book.cancel(order_id), now_ns)
        terms = (request.quantity, request.order_type, request.price or 0, request.trigger_price or 0)
        return self.tell(entry.request.symbol, book.replace(order_id, *terms), now_ns)

    def _change_refusal(
        self, request: CancelOrder | ReplaceOrder, entry: BrokerOrder | None, taken: BrokerOrder | None
    ) -> tuple[int, str] | None:
        """(CxlRejReason, Text), or None when the change may go to the book."""
        if taken is not None:
            return CANCEL_DUPLICATE, DUPLICATE[1]
        if entry is None:
            return happened.UNKNOWN_ORDER, f"UNKNOWN_ORDER: no order {request.orig_cl_ord_id}"
        if entry.report.ord_status not in WORKING:
            return happened.TOO_LATE, f"TOO_LATE: the order is {entry.report.ord_status.name}"
        symbol, modify = entry.request.symbol, isinstance(request, ReplaceOrder)
        if fixed := frozen(entry.order.order_type, self.phase_of(symbol), modify=modify):
            return CANCEL_EXCHANGE_OPTION, fixed
        if isinstance(request, ReplaceOrder):
            if request.quantity <= entry.report.cumulative_quantity:
                return happened.TOO_LATE, "TOO_LATE: that quantity has already traded"
            if broken := self._refusal(request, symbol):
                return CANCEL_EXCHANGE_OPTION, broken[1]
        return None

    def _refusal(self, request: NewOrder | ReplaceOrder, symbol: str) -> tuple[int, str] | None:
        row = self.instruments.get(symbol)
        band = self.band_of(symbol) if row else (0, 0)
        return refusal(request, row, self.phase_of(symbol), band)

    def tell(
        self, symbol: str, events: list[happened.Event], now_ns: int, text: str | None = None
    ) -> list[Addressed]:
        """What the book's events mean to brokers' orders."""
        told: list[Addressed] = []
        for event in events:
            if isinstance(event, happened.Traded):
                if self.on_trade is not None:
                    self.on_trade(symbol, event)
                number = self.next_number(now_ns)
                sides = (
                    (event.aggressor_id, event.aggressor_leaves),
                    (event.resting_id, event.resting_leaves),
                )
                for order_id, leaves in sides:
                    if entry := self.orders.get(order_id):
                        exec_id = trade_side(number, entry.request.side)
                        self.trades[exec_id] = self._report(entry, told, exec_id, now_ns, event, leaves)
            elif not isinstance(event, happened.Refused) and (entry := self.orders.get(event.order_id)):
                self._report(entry, told, self.next_number(now_ns), now_ns, event, None, text)
        return told

    def _report(
        self,
        entry: BrokerOrder,
        told: list[Addressed],
        exec_id: str,
        now_ns: int,
        event: happened.Event,
        leaves: int | None,
        text: str | None = None,
    ) -> ExecutionReport:
        report = next_report(entry, event, leaves)
        entry.report = replace(report, exec_id=exec_id, transact_time_ns=now_ns, text=text)
        told.append(Addressed(entry.session, entry.report))
        return entry.report

    def next_number(self, now_ns: int) -> str:
        self.serial += 1
        return number(now_ns, self.serial)
