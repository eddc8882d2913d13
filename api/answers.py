"""What clients see: rupee strings, RFC 3339 with nine decimals, ids as strings.

One model an answer, made from the row of storage/order_reads.py or the domain's value by its `of`; the served
OpenAPI is read off them. Averages are rounded for showing only; the books keep quantity and value.
"""

from datetime import date
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from domain import instruments
from domain.money import round_half_up, rupees
from domain.orders import OrderStatus, OrderType, Product, Side, Validity
from domain.reports import MarketPhase
from domain.time import rfc3339

Rupees = Annotated[str, Field(pattern=r"^-?[0-9]+\.[0-9]{2}$", examples=["2450.50"])]
OrderId = Annotated[str, Field(pattern=r"^[0-9]{15}$", examples=["230215000012345"])]
Time = Annotated[
    str, Field(examples=["2025-02-15T09:15:00.123456789Z"], json_schema_extra={"format": "date-time"})
]


class Token(BaseModel):
    access_token: str
    token_type: Literal["Bearer"] = "Bearer"
    expires_at: Time


class Acknowledged(BaseModel):
    """The order is on disk."""

    order_id: OrderId
    status: OrderStatus
    timestamp: Time


class CancelAsked(BaseModel):
    """What became of the cancel follows as an order update; the exchange decides."""

    order_id: OrderId
    status: OrderStatus
    detail: str


class HistoryEntry(BaseModel):
    """One record of an order's history, as its `order_update` was; each event adds its own members."""

    model_config = ConfigDict(extra="allow")

    seq: int = Field(description="number of the update in its user's stream")
    event: str
    status: OrderStatus | None
    timestamp: Time

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            seq=row["user_seq"],
            event=row["event"],
            status=row["status"],
            timestamp=rfc3339(row["occurred_at_ns"]),
            **row["detail"],
        )


class Order(BaseModel):
    order_id: OrderId
    instrument_id: str
    order_type: OrderType
    transaction_type: Side
    product: Product
    validity: Validity
    quantity: int
    price: Rupees | None
    trigger_price: Rupees | None
    status: OrderStatus
    filled_quantity: int
    average_price: Rupees | None = Field(description="of what is filled")
    exchange_order_id: str | None
    reject_code: str | None
    reject_reason: str | None
    tag: str | None
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: dict[str, Any], **more: Any) -> Self:
        shown = {
            "order_id": str(row["order_id"]),
            "price": _rupees(row["price"]),
            "trigger_price": _rupees(row["trigger_price"]),
            "average_price": _average(row["filled_value"], row["filled_quantity"]),
            "created_at": rfc3339(row["created_at_ns"]),
            "updated_at": rfc3339(row["updated_at_ns"]),
        }
        return cls(**(row | shown | more))


class OrderDetail(Order):
    history: list[HistoryEntry]


class Orders(BaseModel):
    orders: list[Order]
    has_more: bool
    next_cursor: OrderId | None


class Holding(BaseModel):
    instrument_id: str
    quantity: int
    t1_quantity: int = Field(description="bought and not yet settled, part of quantity")
    blocked_quantity: int = Field(description="promised to pending sell orders, part of quantity")
    avg_cost: Rupees
    cost: Rupees

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            instrument_id=row["instrument_id"],
            quantity=row["quantity"],
            t1_quantity=row["t1_quantity"],
            blocked_quantity=row["blocked_quantity"],
            avg_cost=rupees(round_half_up(row["cost"], row["quantity"])),
            cost=rupees(row["cost"]),
        )


class Holdings(BaseModel):
    holdings: list[Holding]


class Position(BaseModel):
    instrument_id: str
    product: Product
    net_quantity: int
    buy_quantity: int
    sell_quantity: int
    buy_avg: Rupees | None
    sell_avg: Rupees | None
    realized_pnl: Rupees
    used_margin: Rupees

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            instrument_id=row["instrument_id"],
            product=row["product"],
            net_quantity=row["buy_quantity"] - row["sell_quantity"],
            buy_quantity=row["buy_quantity"],
            sell_quantity=row["sell_quantity"],
            buy_avg=_average(row["buy_value"], row["buy_quantity"]),
            sell_avg=_average(row["sell_value"], row["sell_quantity"]),
            realized_pnl=rupees(row["realized_pnl"]),
            used_margin=rupees(row["margin"]),
        )


class Positions(BaseModel):
    positions: list[Position]


class Margins(BaseModel):
    cash: Rupees
    available_cash: Rupees
    used_margin: Rupees
    blocked_margin: Rupees
    exposure_margin: Rupees
    realized_pnl: Rupees

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(**{name: rupees(row[name]) for name in cls.model_fields})


class Instrument(BaseModel):
    instrument_id: str
    exchange: str
    symbol: str
    name: str
    segment: instruments.Segment
    kind: instruments.InstrumentKind
    isin: str | None
    tick_size: Rupees
    lot_size: int
    freeze_quantity: int = Field(description="the largest quantity of one order")
    previous_close: Rupees
    lower_band: Rupees
    upper_band: Rupees
    tradable: bool
    expiry: date | None
    strike: Rupees | None
    option_type: Literal["CE", "PE"] | None

    @classmethod
    def of(cls, instrument: instruments.Instrument) -> Self:
        amounts = ("tick_size", "previous_close", "lower_band", "upper_band", "strike")
        shown = {name: getattr(instrument, name) for name in cls.model_fields}
        return cls(**(shown | {name: _rupees(shown[name]) for name in amounts}))


class Instruments(BaseModel):
    instruments: list[Instrument]


class Candle(BaseModel):
    """One minute; `time` is its beginning."""

    time: Time
    open: Rupees
    high: Rupees
    low: Rupees
    close: Rupees
    volume: int

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        prices = {name: rupees(row[name]) for name in ("open", "high", "low", "close")}
        return cls(time=rfc3339(row["minute_ns"]), volume=row["volume"], **prices)


class Candles(BaseModel):
    """Oldest first. `next_from` continues where there are more."""

    instrument_id: str
    candles: list[Candle]
    has_more: bool
    next_from: Time | None


class SegmentStatus(BaseModel):
    exchange: str
    segment: instruments.Segment
    phase: MarketPhase
    since: Time

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        since = rfc3339(row["since_ns"])
        return cls(exchange=row["exchange"], segment=row["segment"], phase=row["phase"], since=since)


class MarketStatus(BaseModel):
    segments: list[SegmentStatus]


class Health(BaseModel):
    status: Literal["ok", "ready"]


def _rupees(amount: int | None) -> str | None:
    return None if amount is None else rupees(amount)


def _average(value: int, quantity: int) -> str | None:
    return rupees(round_half_up(value, quantity)) if quantity else None
