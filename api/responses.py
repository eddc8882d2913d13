"""What clients see: rupee strings, RFC 3339 with nine decimals, ids as strings.

One model an answer, made from the row of storage/orders/queries.py or the domain's value by its `of`; the
served OpenAPI is read off them. Averages are rounded for showing only; the books keep quantity and value.
"""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field

from domain.money import round_half_up, rupees
from domain.orders import OrderStatus, OrderType, Product, Side, Validity
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
    children: list[OrderId] | None = Field(
        default=None, description="of a sliced order: its slices, in order"
    )


class ChangeAsked(BaseModel):
    """What became of the change or cancel follows as an order update; the exchange decides."""

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
    def of(cls, row: dict[str, Any], **more: Any) -> Self:
        return cls(
            seq=row["user_seq"],
            event=row["event"],
            status=row["status"],
            timestamp=rfc3339(row["occurred_at_ns"]),
            **row["detail"],
            **more,
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
    market_protection: Rupees | None = Field(description="percent; null: as the house has it")
    status: OrderStatus
    filled_quantity: int
    average_price: Rupees | None = Field(description="of what is filled")
    exchange_order_id: str | None
    reject_code: str | None = Field(
        description="why it was refused, or why the exchange ended it unasked: docs/reject-codes.md"
    )
    reject_reason: str | None = Field(
        description="the code's sentence with the exchange's own words; or why the house took it back"
    )
    tag: str | None
    parent_order_id: OrderId | None = Field(description="of a slice: the order that was placed")
    created_at: Time
    updated_at: Time

    @classmethod
    def of(cls, row: dict[str, Any], **more: Any) -> Self:
        shown = {
            "order_id": str(row["order_id"]),
            "parent_order_id": None if row["parent_id"] is None else str(row["parent_id"]),
            "price": rupees_or_none(row["price"]),
            "trigger_price": rupees_or_none(row["trigger_price"]),
            "market_protection": rupees_or_none(row["market_protection"]),
            "average_price": average(row["filled_value"], row["filled_quantity"]),
            "created_at": rfc3339(row["created_at_ns"]),
            "updated_at": rfc3339(row["updated_at_ns"]),
        }
        return cls(**(row | shown | more))


class OrderDetail(Order):
    """Of a sliced order: the sums of its slices, and their records, each with its `order_id`."""

    children: list[OrderId] = Field(description="of a sliced order: its slices, in order")
    history: list[HistoryEntry]

    @classmethod
    def of_order(cls, row: dict[str, Any], history: list[dict[str, Any]]) -> Self:
        slices = row.get("children", ())
        children = [str(one["order_id"]) for one in slices]
        records = [
            HistoryEntry.of(entry, **({"order_id": str(entry["order_id"])} if slices else {}))
            for entry in history
        ]
        return cls.of(row, children=children, history=records)


class Orders(BaseModel):
    orders: list[Order]
    has_more: bool
    next_cursor: OrderId | None


class Health(BaseModel):
    status: Literal["ok", "ready"]


def rupees_or_none(amount: int | None) -> str | None:
    return None if amount is None else rupees(amount)


def average(value: int, quantity: int) -> str | None:
    return rupees(round_half_up(value, quantity)) if quantity else None
