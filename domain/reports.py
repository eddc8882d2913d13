"""What the exchange said: execution reports, cancel rejects, session phases and bands, as domain values.

Journaled in the inbox before anything believes them; told apart by `report_id`.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.orders import OrderEvent, Side


class ExecType(StrEnum):
    """FIX 150 of FIX 5.0 SP2; the codec maps FIX 4.2's 1 and 2 and ExecTransType (20) onto it."""

    NEW = "0"
    DONE_FOR_DAY = "3"
    CANCELLED = "4"
    REPLACED = "5"
    REJECTED = "8"
    EXPIRED = "C"
    RESTATED = "D"
    """ExecRestatementReason (378) 3, repricing: what is left of a market order rests as a limit order."""
    TRADE = "F"
    TRADE_CORRECT = "G"
    TRADE_CANCEL = "H"
    ORDER_STATUS = "I"
    TRIGGERED = "L"


class OrdStatus(StrEnum):
    """FIX 39."""

    NEW = "0"
    PARTIALLY_FILLED = "1"
    FILLED = "2"
    DONE_FOR_DAY = "3"
    CANCELLED = "4"
    PENDING_CANCEL = "6"
    REJECTED = "8"
    SUSPENDED = "9"
    PENDING_NEW = "A"
    EXPIRED = "C"
    PENDING_REPLACE = "E"


@dataclass(frozen=True, slots=True)
class ExecutionReport:
    """FIX 8. `exec_id` (17) is unique at the exchange for the day; prices in paise."""

    exec_id: str
    exec_type: ExecType
    ord_status: OrdStatus
    cl_ord_id: str
    """ClOrdID (11) of the request this answers."""
    orig_cl_ord_id: str | None
    """OrigClOrdID (41) after a cancel or replace."""
    exchange_order_id: str
    """OrderID (37); "NONE" when the exchange knows no such order."""
    symbol: str
    side: Side
    quantity: int
    """OrderQty (38)."""
    cumulative_quantity: int
    leaves_quantity: int
    last_quantity: int
    """LastQty (32); 0 unless a trade."""
    last_price: int
    """LastPx (31); 0 unless a trade."""
    price: int | None
    trigger_price: int | None
    stop: bool
    """The order rests as an untriggered stop (OrdType 3 or 4 and ExecType 0 or 5)."""
    reject_reason: int | None
    """OrdRejReason (103)."""
    text: str | None
    """Text (58)."""
    transact_time_ns: int
    reference_exec_id: str | None = None
    """ExecRefID (19): the trade that a bust or correction refers to."""

    @property
    def report_id(self) -> str:
        return self.exec_id

    @property
    def order_event(self) -> OrderEvent | None:
        """The event of the order's life this report tells; None for status answers, busts, corrections."""
        if self.exec_type is ExecType.TRADE:
            return OrderEvent.FILL if self.leaves_quantity == 0 else OrderEvent.PARTIAL_FILL
        if self.exec_type is ExecType.NEW and self.stop:
            return OrderEvent.STOP_ACKNOWLEDGED
        return _EVENTS.get(self.exec_type)


CORRECTIONS = frozenset({ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT})
"""Reports on a trade that was told before, named by their `reference_exec_id`."""
_EVENTS = {
    ExecType.NEW: OrderEvent.ACKNOWLEDGED,
    ExecType.TRIGGERED: OrderEvent.TRIGGERED,
    ExecType.REPLACED: OrderEvent.REPLACED,
    ExecType.CANCELLED: OrderEvent.CANCELLED,
    ExecType.REJECTED: OrderEvent.EXCHANGE_REJECTED,
    ExecType.EXPIRED: OrderEvent.EXPIRED,
    ExecType.DONE_FOR_DAY: OrderEvent.EXPIRED,
}


@dataclass(frozen=True, slots=True)
class CancelRejected:
    """FIX 9: a cancel or replace was refused; the order itself is untouched."""

    cl_ord_id: str
    orig_cl_ord_id: str
    exchange_order_id: str
    ord_status: OrdStatus
    response_to_replace: bool
    """CxlRejResponseTo (434) is 2."""
    reject_reason: int | None
    """CxlRejReason (102): 0 too late, 1 unknown order, 3 already pending."""
    text: str | None

    @property
    def report_id(self) -> str:
        """FIX 9 carries no ExecID; a request is refused once, so its ClOrdID serves."""
        return f"9:{self.cl_ord_id}"


class MarketPhase(StrEnum):
    """The exchange's session, announced by TradingSessionStatus (h): TradSesStatus 340 and SubID 625."""

    CLOSED = "CLOSED"
    PRE_OPEN_ENTRY = "PRE_OPEN_ENTRY"
    PRE_OPEN_LIMIT = "PRE_OPEN_LIMIT"
    PRE_OPEN_MATCHING = "PRE_OPEN_MATCHING"
    CONTINUOUS = "CONTINUOUS"
    CLOSING_REFERENCE = "CLOSING_REFERENCE"
    CLOSING_AUCTION = "CLOSING_AUCTION"
    CLOSING_AUCTION_LIMIT = "CLOSING_AUCTION_LIMIT"
    CLOSING_MATCHING = "CLOSING_MATCHING"
    POST_CLOSE = "POST_CLOSE"
    HALTED = "HALTED"


@dataclass(frozen=True, slots=True)
class SessionPhase:
    """FIX h: the phase of a segment, or of one session class in it, from `since_ns` on."""

    exchange: str
    segment: str
    phase: MarketPhase
    since_ns: int
    session_class: str | None = None
    """SecurityGroup (1151), a word of domain/sessions.py; None speaks for the whole segment."""
    scheduled_ns: int | None = None
    """TradSesOpenTime (342): the moment of the trading day, by the exchange's timetable, that `since_ns` was.
    Another than `since_ns` in a day that is played in minutes; None where the exchange keeps no hours."""


@dataclass(frozen=True, slots=True)
class BandSet:
    """FIX f: within which prices an instrument may be ordered from `since_ns` on, until its day is over."""

    exchange: str
    symbol: str
    low: int
    """LowPx (333), in paise."""
    high: int
    """HighPx (332)."""
    since_ns: int


Announcement = SessionPhase | BandSet
"""What the exchange tells everybody; of no order."""
Report = ExecutionReport | CancelRejected | Announcement
