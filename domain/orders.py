"""An order's words and its life as one table: (status, event) -> status.

Every status change in the system goes through `next_status`; a pair that is not in the table is
illegal: from the exchange it is recorded as a break, from our own code it is a bug.
Status words and FIX OrdStatus (39) / ExecType (150): market-rules section 10.
"""

from dataclasses import dataclass
from enum import StrEnum


class OrderType(StrEnum):
    MARKET = "MARKET"
    LIMIT = "LIMIT"
    SL = "SL"
    SL_M = "SL-M"


class Side(StrEnum):
    BUY = "BUY"
    SELL = "SELL"

    @property
    def sign(self) -> int:
        return 1 if self is Side.BUY else -1


class Product(StrEnum):
    CNC = "CNC"
    """Delivery: full value, settles into holdings."""
    MIS = "MIS"
    """Intraday: 20% margin, squared off the same day."""
    NRML = "NRML"
    """Futures and options carried forward: SPAN and exposure margin."""


class Validity(StrEnum):
    DAY = "DAY"
    IOC = "IOC"
    GTT = "GTT"


class OrderStatus(StrEnum):
    PENDING_VALIDATION = "PENDING_VALIDATION"
    """Durable in the intake; no gate passed yet."""
    PENDING_OPEN = "PENDING_OPEN"
    """Passed every gate, margin blocked; not yet in the exchange's book."""
    OPEN = "OPEN"
    TRIGGER_PENDING = "TRIGGER_PENDING"
    PARTIALLY_FILLED = "PARTIALLY_FILLED"
    EXECUTED = "EXECUTED"
    SETTLED = "SETTLED"
    CANCELLED = "CANCELLED"
    REJECTED = "REJECTED"
    EXPIRED = "EXPIRED"

    @property
    def is_final(self) -> bool:
        """Whether no report can change the traded quantity any more (busts apart)."""
        return self in FINAL


FINAL = frozenset(
    {
        OrderStatus.EXECUTED,
        OrderStatus.SETTLED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
    }
)


class OrderEvent(StrEnum):
    """An entry of an order in the record and on its client's stream; what each means: domain/events.py."""

    ACCEPTED = "ACCEPTED"
    """Journaled in the intake: the 202."""
    REFUSED = "REFUSED"
    """One of our gates refused it."""
    SUBMITTED = "SUBMITTED"
    """Placed in the outbox of its exchange."""
    SENT = "SENT"
    """Left for the exchange on a FIX session."""
    ACKNOWLEDGED = "ACKNOWLEDGED"
    """ExecType 0: in the exchange's book."""
    STOP_ACKNOWLEDGED = "STOP_ACKNOWLEDGED"
    """ExecType 0 of a stop order: waits for its trigger."""
    TRIGGERED = "TRIGGERED"
    """ExecType L."""
    PARTIAL_FILL = "PARTIAL_FILL"
    FILL = "FILL"
    """The last fill: cumulative quantity equals the order's."""
    REPLACED = "REPLACED"
    """ExecType 5."""
    CANCELLED = "CANCELLED"
    """ExecType 4."""
    EXCHANGE_REJECTED = "EXCHANGE_REJECTED"
    """ExecType 8."""
    EXPIRED = "EXPIRED"
    """ExecType C or 3."""
    WITHDRAWN = "WITHDRAWN"
    """Cancelled before it left for the exchange."""
    UNEXPECTED_FILL = "UNEXPECTED_FILL"
    """ExecType F of an order that is over or was never sent: it has traded all the same."""
    TRADE_CANCELLED = "TRADE_CANCELLED"
    """ExecType H: a trade is cancelled, others are left. Its quantity does not return to the market."""
    LAST_TRADE_CANCELLED = "LAST_TRADE_CANCELLED"
    """ExecType H: no trade is left."""
    TRADE_CORRECTED = "TRADE_CORRECTED"
    """ExecType G: another price."""
    TRADE_REDUCED = "TRADE_REDUCED"
    """ExecType G: a smaller quantity, and perhaps another price."""
    SETTLED = "SETTLED"
    CHANGED = "CHANGED"
    """Changed before the exchange had heard of it."""
    CHANGE_WITHDRAWN = "CHANGE_WITHDRAWN"
    """A change that had not left for the exchange never will."""
    REPLACE_SENT = "REPLACE_SENT"
    """35=G left for the exchange."""
    CANCEL_REQUESTED = "CANCEL_REQUESTED"
    """A cancel was placed in the outbox."""
    CANCEL_SENT = "CANCEL_SENT"
    """35=F left for the exchange."""
    CANCEL_REJECTED = "CANCEL_REJECTED"
    """35=9: the exchange refused a cancel or a change."""
    REPRICED = "REPRICED"
    """ExecType D: the rest of a market order rests as a limit order at the exchange's price."""


KEEPS_STATUS = frozenset(
    {
        OrderEvent.CHANGED,
        OrderEvent.CHANGE_WITHDRAWN,
        OrderEvent.REPLACE_SENT,
        OrderEvent.CANCEL_REQUESTED,
        OrderEvent.CANCEL_SENT,
        OrderEvent.CANCEL_REJECTED,
        OrderEvent.REPRICED,
    }
)
"""Events that leave every status as it is: TRANSITIONS has no row for them."""

_S, _E = OrderStatus, OrderEvent

TRANSITIONS: dict[tuple[OrderStatus, OrderEvent], OrderStatus] = {
    # before the exchange
    (_S.PENDING_VALIDATION, _E.REFUSED): _S.REJECTED,
    (_S.PENDING_VALIDATION, _E.SUBMITTED): _S.PENDING_OPEN,
    (_S.PENDING_VALIDATION, _E.WITHDRAWN): _S.CANCELLED,
    (_S.PENDING_OPEN, _E.SENT): _S.PENDING_OPEN,
    (_S.PENDING_OPEN, _E.WITHDRAWN): _S.CANCELLED,
    # the exchange's first answer; a fill may be the first report when the ack was lost
    (_S.PENDING_OPEN, _E.ACKNOWLEDGED): _S.OPEN,
    (_S.PENDING_OPEN, _E.STOP_ACKNOWLEDGED): _S.TRIGGER_PENDING,
    (_S.PENDING_OPEN, _E.EXCHANGE_REJECTED): _S.REJECTED,
    (_S.PENDING_OPEN, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.PENDING_OPEN, _E.FILL): _S.EXECUTED,
    (_S.PENDING_OPEN, _E.CANCELLED): _S.CANCELLED,
    (_S.PENDING_OPEN, _E.EXPIRED): _S.EXPIRED,
    # in the book
    (_S.OPEN, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.OPEN, _E.FILL): _S.EXECUTED,
    (_S.OPEN, _E.REPLACED): _S.OPEN,
    (_S.OPEN, _E.CANCELLED): _S.CANCELLED,
    (_S.OPEN, _E.EXPIRED): _S.EXPIRED,
    (_S.TRIGGER_PENDING, _E.TRIGGERED): _S.OPEN,
    (_S.TRIGGER_PENDING, _E.REPLACED): _S.TRIGGER_PENDING,
    (_S.TRIGGER_PENDING, _E.CANCELLED): _S.CANCELLED,
    (_S.TRIGGER_PENDING, _E.EXPIRED): _S.EXPIRED,
    # a trigger and its fill may be told in one report
    (_S.TRIGGER_PENDING, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.TRIGGER_PENDING, _E.FILL): _S.EXECUTED,
    (_S.PARTIALLY_FILLED, _E.PARTIAL_FILL): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.FILL): _S.EXECUTED,
    (_S.PARTIALLY_FILLED, _E.REPLACED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.CANCELLED): _S.CANCELLED,
    (_S.PARTIALLY_FILLED, _E.EXPIRED): _S.EXPIRED,
    # a trade taken back or put right: a working order goes on with what is open, an executed one falls short
    (_S.PARTIALLY_FILLED, _E.TRADE_CANCELLED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.LAST_TRADE_CANCELLED): _S.OPEN,
    (_S.PARTIALLY_FILLED, _E.TRADE_CORRECTED): _S.PARTIALLY_FILLED,
    (_S.PARTIALLY_FILLED, _E.TRADE_REDUCED): _S.PARTIALLY_FILLED,
    (_S.EXECUTED, _E.TRADE_CANCELLED): _S.CANCELLED,
    (_S.EXECUTED, _E.LAST_TRADE_CANCELLED): _S.CANCELLED,
    (_S.EXECUTED, _E.TRADE_CORRECTED): _S.EXECUTED,
    (_S.EXECUTED, _E.TRADE_REDUCED): _S.CANCELLED,
    (_S.CANCELLED, _E.TRADE_CANCELLED): _S.CANCELLED,
    (_S.CANCELLED, _E.LAST_TRADE_CANCELLED): _S.CANCELLED,
    (_S.CANCELLED, _E.TRADE_CORRECTED): _S.CANCELLED,
    (_S.CANCELLED, _E.TRADE_REDUCED): _S.CANCELLED,
    (_S.EXPIRED, _E.TRADE_CANCELLED): _S.EXPIRED,
    (_S.EXPIRED, _E.LAST_TRADE_CANCELLED): _S.EXPIRED,
    (_S.EXPIRED, _E.TRADE_CORRECTED): _S.EXPIRED,
    (_S.EXPIRED, _E.TRADE_REDUCED): _S.EXPIRED,
    # the exchange's word stands: what trades after the end is filled, and the order stays what it was
    (_S.PENDING_VALIDATION, _E.UNEXPECTED_FILL): _S.PENDING_VALIDATION,
    (_S.EXECUTED, _E.UNEXPECTED_FILL): _S.EXECUTED,
    (_S.SETTLED, _E.UNEXPECTED_FILL): _S.SETTLED,
    (_S.CANCELLED, _E.UNEXPECTED_FILL): _S.CANCELLED,
    (_S.REJECTED, _E.UNEXPECTED_FILL): _S.REJECTED,
    (_S.EXPIRED, _E.UNEXPECTED_FILL): _S.EXPIRED,
    # T+1
    (_S.EXECUTED, _E.SETTLED): _S.SETTLED,
}


class IllegalTransition(Exception):
    """The event may not happen in this status."""

    def __init__(self, status: OrderStatus, event: OrderEvent) -> None:
        super().__init__(f"{event} is not possible in {status}")
        self.status = status
        self.event = event


def next_status(status: OrderStatus, event: OrderEvent) -> OrderStatus:
    """The status after the event; raises IllegalTransition when the table has no such row."""
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(status, event) from None


@dataclass(frozen=True, slots=True)
class OrderTerms:
    """The terms that the client asked for. Prices in paise, None where the order type has none."""

    instrument_id: str
    order_type: OrderType
    side: Side
    product: Product
    validity: Validity
    quantity: int
    price: int | None = None
    trigger_price: int | None = None
    market_protection: int | None = None
    """How far an unpriced order may trade from the last price, in basis points; None: the default."""

    @property
    def exchange(self) -> str:
        return self.instrument_id.partition(":")[0]

    @property
    def symbol(self) -> str:
        """The exchange's own symbol, without the prefix."""
        return self.instrument_id.partition(":")[2]


@dataclass(frozen=True, slots=True)
class SliceOf:
    """The sliced order that an order is a part of."""

    parent_id: int
    quantity: int
    """The quantity of the whole order."""


@dataclass(frozen=True, slots=True)
class PlacedOrder:
    """An acknowledged order as it enters its workflow. Carries no personal data."""

    order_id: int
    user_id: int
    intake_seq: int
    """Place in the acknowledgement order; per-user FIFO at the exchange follows it."""
    accepted_at_ns: int
    terms: OrderTerms
    traceparent: str
    """W3C trace context of the request."""
    owner: str
    """The order worker that claimed the order; reports come back to it first."""
    by_house: bool = False
    """A closing order that the broker places for the client."""
    slice_of: SliceOf | None = None
    past_gates: bool = False
    """It was submitted, or has ended, before this workflow began: an earlier workflow was lost."""

    @property
    def margin_id(self) -> int:
        """The id under which its margin is blocked before it is submitted; slices share their parent's."""
        return self.order_id if self.slice_of is None else self.slice_of.parent_id
