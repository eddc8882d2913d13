"""The frames of the stream: a type for each event that a client receives, and for answers to its messages.

The one home of their members, in docs/asyncapi.yaml too, which is written from here. Session, heartbeat, gap,
closing, market status and answers are encoded from these types; the others are built where their data is
(order updates in storage/audit.py, alerts in storage/risk/risk_alerts.py, portfolios in
api/portfolio_responses.py, ticks in realtime/stream/quotes.py), and tests decode real ones strictly. Amounts
are rupee strings, and numbers in ticks.
"""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, UnsetType

from domain.events import AlertKind
from domain.orders import OrderEvent, OrderStatus, OrderType, Product, Side, Validity
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.trading_states import Scope

Rupees = Annotated[str, Meta(pattern=r"^-?[0-9]+\.[0-9]{2}$", examples=["2450.50"])]
Time = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{9}Z$",
        examples=["2026-02-16T03:45:00.123456789Z"],
    ),
]
Quantity = Annotated[int, Meta(ge=0)]
Seq = Annotated[int, Meta(ge=0, description="the number of an order update of this user")]
Price = Annotated[float, Meta(description="rupees, two decimals")]
Level = tuple[Price, Quantity]
encode = msgspec.json.Encoder().encode


class _Frame(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, tag_field="type"):
    """The member `type` of a frame is the event's name."""


class SessionFrame(_Frame, frozen=True, tag="session"):
    """Order updates begin after `seq`; null while it is not known, then the frame comes again."""

    client_id: str
    expires_at: Time
    seq: Seq | None


class HeartbeatFrame(_Frame, frozen=True, tag="heartbeat"):
    """The connection is alive; `seq` is the last order update of this user, null while it is not known."""

    timestamp: Time
    seq: Seq | None


class GapFrame(_Frame, frozen=True, tag="gap"):
    """Order updates that will not come, both ends included: read the orders."""

    from_seq: Seq
    to_seq: Seq


class ClosingFrame(_Frame, frozen=True, tag="closing"):
    """The server ends the connection."""

    code: str
    detail: str


class AnnouncedPhase(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The phase of a segment of an exchange, or of one session class in it; as it is kept in Redis."""

    exchange: str
    segment: str
    session_class: str | None
    """A SessionClass, as the exchange announced it; None: all of the segment."""
    phase: MarketPhase
    since: Time


class MarketStatusFrame(AnnouncedPhase, frozen=True, tag_field="type", tag="market_status"):
    """A phase of the market began; without a `session_class` for all of the segment."""


class OrderUpdateFrame(_Frame, frozen=True, tag="order_update"):
    """An entry of an order's history (docs/events.md); each event has its own members after `timestamp`."""

    seq: Seq
    order_id: str
    event: OrderEvent
    status: OrderStatus | None
    timestamp: Time
    # the terms: ACCEPTED, CHANGED, REPLACED
    instrument_id: str | UnsetType = UNSET
    order_type: OrderType | UnsetType = UNSET
    transaction_type: Side | UnsetType = UNSET
    product: Product | UnsetType = UNSET
    validity: Validity | UnsetType = UNSET
    quantity: Quantity | UnsetType = UNSET
    price: Rupees | UnsetType | None = UNSET
    trigger_price: Rupees | UnsetType = UNSET
    market_protection: Rupees | UnsetType = UNSET
    """Percent."""
    parent_order_id: str | UnsetType = UNSET
    # SUBMITTED
    blocked_margin: Rupees | UnsetType = UNSET
    protected_price: Rupees | UnsetType = UNSET
    release_phases: list[MarketPhase] | UnsetType = UNSET
    # SENT, REPLACE_SENT, CANCEL_SENT
    cl_ord_id: str | UnsetType = UNSET
    repeated: bool | UnsetType = UNSET
    asked: bool | UnsetType = UNSET
    # the exchange's reports
    filled_quantity: Quantity | UnsetType = UNSET
    average_price: Rupees | UnsetType = UNSET
    exchange_order_id: str | UnsetType | None = UNSET
    exec_id: str | UnsetType = UNSET
    reference_exec_id: str | UnsetType | None = UNSET
    last_quantity: Quantity | UnsetType = UNSET
    last_price: Rupees | UnsetType = UNSET
    text: str | UnsetType = UNSET
    # why
    reject_code: str | UnsetType = UNSET
    reject_reason: str | UnsetType = UNSET
    reason: str | UnsetType = UNSET
    traceparent: str | UnsetType = UNSET
    """W3C trace context, in sampled traces."""


class RiskAlertFrame(_Frame, frozen=True, tag="risk_alert"):
    """An alert for the risk desk (docs/events.md); each kind has its own members after `timestamp`."""

    kind: AlertKind
    sentence: str
    user_id: int | None
    timestamp: Time
    client_id: str | UnsetType = UNSET
    available_cash: Rupees | UnsetType = UNSET
    order_id: str | UnsetType = UNSET
    exec_id: str | UnsetType = UNSET
    cl_ord_id: str | UnsetType = UNSET
    exchange: str | UnsetType = UNSET
    trade_date: str | UnsetType = UNSET
    differences: list[str] | UnsetType = UNSET
    session_class: SessionClass | UnsetType = UNSET
    day: str | UnsetType = UNSET
    positions: Quantity | UnsetType = UNSET
    instruments: list[str] | UnsetType = UNSET
    scope: Scope | UnsetType = UNSET
    id: str | UnsetType = UNSET
    until: Time | UnsetType = UNSET
    move_percent: int | UnsetType = UNSET


class PortfolioMargins(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    cash: Rupees
    available_cash: Rupees
    used_margin: Rupees
    blocked_margin: Rupees
    exposure_margin: Rupees
    realized_pnl: Rupees


class PortfolioHolding(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instrument_id: str
    quantity: int
    t1_quantity: int
    blocked_quantity: int
    avg_cost: Rupees | None
    cost: Rupees
    realized_pnl: Rupees


class PortfolioPosition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instrument_id: str
    product: Product
    net_quantity: int
    avg_cost: Rupees | None
    cost: Rupees
    buy_quantity: int
    sell_quantity: int
    buy_avg: Rupees | None
    sell_avg: Rupees | None
    realized_pnl: Rupees
    used_margin: Rupees


class PortfolioFrame(_Frame, frozen=True, tag="portfolio"):
    """All of the client's portfolio as of a version, without prices; a newer version replaces it."""

    version: int
    margins: PortfolioMargins
    holdings: list[PortfolioHolding]
    positions: list[PortfolioPosition]


class Tick(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Members of one instrument: in `snapshot` all of the mode, in `ticks` those that changed."""

    instrument: str
    timestamp: Time
    ltp: Price | UnsetType | None = UNSET
    previous_close: Price | UnsetType | None = UNSET
    stale: bool | UnsetType = UNSET
    bid: Price | UnsetType | None = UNSET
    bid_quantity: Quantity | UnsetType = UNSET
    ask: Price | UnsetType | None = UNSET
    ask_quantity: Quantity | UnsetType = UNSET
    volume: Quantity | UnsetType = UNSET
    last_quantity: Quantity | UnsetType = UNSET
    open: Price | UnsetType | None = UNSET
    high: Price | UnsetType | None = UNSET
    low: Price | UnsetType | None = UNSET
    trades: Quantity | UnsetType = UNSET
    bids: Annotated[list[Level], Meta(max_length=5)] | UnsetType = UNSET
    asks: Annotated[list[Level], Meta(max_length=5)] | UnsetType = UNSET


class SnapshotFrame(_Frame, frozen=True, tag="snapshot"):
    """The last values of instruments; on Socket.IO the list alone."""

    snapshot: list[Tick]


class TicksFrame(_Frame, frozen=True, tag="ticks"):
    """The changes of instruments since the last frame; on Socket.IO the list alone."""

    ticks: list[Tick]


class RefusedInstrument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    instrument: str
    code: str
    detail: str


class MessageAnswer(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The answer to a client's message: the acknowledgement on Socket.IO."""

    ok: bool
    # refused messages
    code: str | UnsetType = UNSET
    detail: str | UnsetType = UNSET
    # subscribe, unsubscribe
    accepted: list[str] | UnsetType = UNSET
    refused: list[RefusedInstrument] | UnsetType = UNSET
    # resume
    seq: Seq | UnsetType | None = UNSET


class AnswerFrame(MessageAnswer, frozen=True, tag_field="type", tag="answer"):
    """The answer to a message on plain WebSocket, with the message's own `action` and `id`."""

    action: Any = UNSET
    id: Any = UNSET


FRAMES: tuple[type[msgspec.Struct], ...] = (
    SessionFrame,
    MarketStatusFrame,
    SnapshotFrame,
    TicksFrame,
    PortfolioFrame,
    OrderUpdateFrame,
    GapFrame,
    HeartbeatFrame,
    RiskAlertFrame,
    ClosingFrame,
    AnswerFrame,
)
