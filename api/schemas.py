"""What clients send and see: rupee strings, RFC 3339 with nine decimals, ids as strings."""

from typing import Annotated, Any
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

from domain.instruments import Instrument
from domain.money import paise, round_half_up, rupees
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.time import rfc3339


def _paise(value: object) -> int:
    # A boolean is an integer to Python, and a decimal arrives as the text it was (api/bodies.py).
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a decimal number or a string")
    if isinstance(value, int) and abs(value) >= 10**13:
        raise ValueError("is too large")
    return paise(str(value))


Rupees = Annotated[
    int,
    BeforeValidator(_paise),
    WithJsonSchema(
        {"anyOf": [{"type": "number"}, {"type": "string"}], "description": "rupees, at most two decimals"}
    ),
]
Text = Annotated[str, Field(strict=True, min_length=1, max_length=30, pattern=r"^[A-Z0-9&:_\-]+$")]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SignIn(Asked):
    client_id: Annotated[str, Field(strict=True, min_length=1, max_length=20, pattern=r"^[A-Z0-9]+$")]
    password: Annotated[str, Field(strict=True, min_length=1, max_length=128)]


class PlaceOrder(Asked):
    """`price` and `trigger_price` in rupees; which may be given depends on the order type."""

    instrument_id: Text
    order_type: OrderType
    transaction_type: Side
    quantity: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
    price: Rupees | None = None
    trigger_price: Rupees | None = None
    product: Product
    validity: Validity = Validity.DAY
    idempotency_key: UUID
    tag: Annotated[str, Field(strict=True, max_length=20, pattern=r"^[A-Za-z0-9_\-]*$")] | None = None

    @property
    def terms(self) -> OrderTerms:
        return OrderTerms(
            self.instrument_id,
            self.order_type,
            self.transaction_type,
            self.product,
            self.validity,
            self.quantity,
            self.price,
            self.trigger_price,
        )


def order_seen(row: dict[str, Any]) -> dict[str, Any]:
    """An order of storage/order_reads.py as its owner sees it."""
    filled, value = row["filled_quantity"], row["filled_value"]
    seen = {
        **row,
        "order_id": str(row["order_id"]),
        "price": _rupees(row["price"]),
        "trigger_price": _rupees(row["trigger_price"]),
        "average_price": rupees(round_half_up(value, filled)) if filled else None,
        "created_at": rfc3339(row["created_at_ns"]),
        "updated_at": rfc3339(row["updated_at_ns"]),
    }
    for internal in ("filled_value", "created_at_ns", "updated_at_ns"):
        del seen[internal]
    return seen


def history_seen(row: dict[str, Any]) -> dict[str, Any]:
    """One record of an order's history: as its `order_update` was."""
    return {
        "seq": row["user_seq"],
        "event": row["event"],
        "status": row["status"],
        "timestamp": rfc3339(row["occurred_at_ns"]),
        **row["detail"],
    }


def holding_seen(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "instrument_id": row["instrument_id"],
        "quantity": row["quantity"],
        "t1_quantity": row["t1_quantity"],
        "blocked_quantity": row["blocked_quantity"],
        "avg_cost": rupees(round_half_up(row["cost"], row["quantity"])),
        "cost": rupees(row["cost"]),
    }


def position_seen(row: dict[str, Any]) -> dict[str, Any]:
    def average(value: int, quantity: int) -> str | None:
        return rupees(round_half_up(value, quantity)) if quantity else None

    return {
        "instrument_id": row["instrument_id"],
        "product": row["product"],
        "net_quantity": row["buy_quantity"] - row["sell_quantity"],
        "buy_quantity": row["buy_quantity"],
        "sell_quantity": row["sell_quantity"],
        "buy_avg": average(row["buy_value"], row["buy_quantity"]),
        "sell_avg": average(row["sell_value"], row["sell_quantity"]),
        "realized_pnl": rupees(row["realized_pnl"]),
        "used_margin": rupees(row["margin"]),
    }


def margins_seen(row: dict[str, Any]) -> dict[str, Any]:
    amounts = ("cash", "available_cash", "used_margin", "blocked_margin", "exposure_margin", "realized_pnl")
    return {name: rupees(row[name]) for name in amounts}


def instrument_seen(instrument: Instrument) -> dict[str, Any]:
    return {
        "instrument_id": instrument.instrument_id,
        "exchange": instrument.exchange,
        "symbol": instrument.symbol,
        "name": instrument.name,
        "segment": instrument.segment,
        "kind": instrument.kind,
        "isin": instrument.isin,
        "tick_size": rupees(instrument.tick_size),
        "lot_size": instrument.lot_size,
        "freeze_quantity": instrument.freeze_quantity,
        "previous_close": rupees(instrument.previous_close),
        "lower_band": rupees(instrument.lower_band),
        "upper_band": rupees(instrument.upper_band),
        "tradable": instrument.tradable,
        "expiry": instrument.expiry.isoformat() if instrument.expiry else None,
        "strike": _rupees(instrument.strike),
        "option_type": instrument.option_type,
    }


def _rupees(amount: int | None) -> str | None:
    return None if amount is None else rupees(amount)
