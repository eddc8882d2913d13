"""What clients send: rupees as decimal numbers or strings, nothing of a wrong type, nothing unknown."""

import unicodedata
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, WithJsonSchema

from domain.changes import Change
from domain.money import PAISE_MAX, paise
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.trading_states import Scope, TradingState


def _paise(value: object) -> int:
    # A boolean is an integer to Python, and a decimal arrives as the text it was (api/body.py).
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError("must be a decimal number or a string")
    if isinstance(value, int) and abs(value) >= 10**13:
        raise ValueError("is too large")
    return paise(str(value))


def _readable(text: str) -> str:
    """Text that staff may read on any screen: composed, no control, format or invisible characters."""
    if not text.isprintable():
        raise ValueError("must be printable text")
    return unicodedata.normalize("NFC", text)


Rupees = Annotated[
    int,
    BeforeValidator(_paise),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": r"^-?[0-9]{1,13}(\.[0-9]{1,2}0*)?$"},
            ],
            "description": "rupees, at most two decimals",
            "examples": ["2450.50"],
        }
    ),
]
Percent = Annotated[
    int,
    BeforeValidator(_paise),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number"},
                {"type": "string", "pattern": r"^-?[0-9]{1,13}(\.[0-9]{1,2}0*)?$"},
            ],
            "description": "percent, at most two decimals; how far a MARKET or SL-M order may trade from the "
            "last price; without it the house's own rule holds",
            "examples": ["0.5"],
        }
    ),
]
INSTRUMENT_ID = r"^[A-Z0-9&:_\-]+( [A-Z0-9&:_\-]+)*$"
"""The alphabet of the master: an index has blanks in its name."""
Text = Annotated[str, Field(strict=True, min_length=1, max_length=30, pattern=INSTRUMENT_ID)]


class Asked(BaseModel):
    model_config = ConfigDict(extra="forbid")


_AN_ORDER: dict[str, JsonValue] = {
    "instrument_id": "NSE:RELIANCE",
    "order_type": "LIMIT",
    "transaction_type": "BUY",
    "quantity": 40000,
    "price": "1540.00",
    "product": "MIS",
    "validity": "DAY",
    "idempotency_key": "8f6f3c1e-5b1d-4f0e-9a2b-3f7a1d9c0b11",
    "auto_slice": True,
}


class SignIn(Asked):
    client_id: Annotated[str, Field(strict=True, min_length=1, max_length=20, pattern=r"^[A-Z0-9]+$")]
    password: Annotated[str, Field(strict=True, min_length=1, max_length=128)]


Reason = Annotated[
    str,
    Field(strict=True, min_length=1, pattern=r"\S"),
    AfterValidator(_readable),
    Field(max_length=200),
]
Quantity = Annotated[int, Field(strict=True, ge=0, lt=2**31)]
Amount = Annotated[Rupees, Field(ge=0, le=PAISE_MAX)]
Flag = Annotated[bool, Field(strict=True)]


class Unfreeze(Asked):
    """`id` is a client id, an instrument id, or a segment such as NSE:FO; of `all` there is none."""

    scope: Scope
    id: Text | None = None
    reason: Reason


class Freeze(Unfreeze):
    """`flatten` closes positions, and cancels what is pending before."""

    state: Literal[TradingState.REDUCING, TradingState.HALTED] = TradingState.HALTED
    cancel_pending: Flag = False
    flatten: Flag = False


class SetLimits(Asked):
    exposure_limit: Amount
    position_limit: Quantity
    order_value_limit: Amount
    reason: Reason


class ChangeOrder(Asked):
    """What is given replaces what stands; `quantity` is the new total."""

    quantity: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)] | None = None
    price: Rupees | None = None
    trigger_price: Rupees | None = None

    @property
    def change(self) -> Change:
        return Change(self.quantity, self.price, self.trigger_price)


class PlaceOrder(Asked):
    """`price` and `trigger_price` in rupees; which may be given depends on the order type."""

    model_config = ConfigDict(json_schema_extra={"examples": [_AN_ORDER]})

    instrument_id: Text
    order_type: OrderType
    transaction_type: Side
    quantity: Annotated[int, Field(strict=True, ge=-(2**31), lt=2**31)]
    price: Rupees | None = None
    trigger_price: Rupees | None = None
    market_protection: Percent | None = None
    product: Product
    validity: Validity = Validity.DAY
    idempotency_key: UUID
    tag: Annotated[str, Field(strict=True, max_length=20, pattern=r"^[A-Za-z0-9_\-]*$")] | None = None
    auto_slice: Annotated[
        Flag, Field(description="above the freeze quantity: send it as several orders, all or none")
    ] = False

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
            self.market_protection,
        )
