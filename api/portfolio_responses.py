"""Portfolios for clients: the books' part, and beside it the market's prices and P&L.

The stream sends the books' part and the ticks, and clients compute P&L by the rules of docs/pnl.md; the GETs
have both, computed here. Made from the rows of storage/books/queries.py.
"""

from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.responses import Rupees, average, rupees_or_none
from bus.last_prices import Quote
from domain.money import rupees
from domain.orders import Product
from domain.positions import unrealized_pnl


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


class Holding(BaseModel):
    instrument_id: str
    quantity: int = Field(description="below zero: sold, and the exchange took the purchase back since")
    t1_quantity: int = Field(description="bought and not yet settled, part of quantity")
    blocked_quantity: int = Field(description="promised to pending sell orders, part of quantity")
    avg_cost: Rupees | None = Field(description="rounded; null when all was sold today")
    cost: Rupees = Field(description="of all of quantity, exact")
    realized_pnl: Rupees = Field(description="by today's sales")

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(**_shown(row, row["quantity"]))


class Position(BaseModel):
    instrument_id: str
    product: Product
    net_quantity: int = Field(description="units, never lots; negative when short")
    avg_cost: Rupees | None = Field(description="of the net quantity, rounded; null when it is zero")
    cost: Rupees = Field(description="of the net quantity, exact: bought for, or minus what it was sold for")
    buy_quantity: int = Field(description="bought today")
    sell_quantity: int = Field(description="sold today")
    buy_avg: Rupees | None
    sell_avg: Rupees | None
    realized_pnl: Rupees = Field(description="by what was closed today")
    used_margin: Rupees

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            **_shown(row, row["net_quantity"]),
            buy_avg=average(row["buy_value"], row["buy_quantity"]),
            sell_avg=average(row["sell_value"], row["sell_quantity"]),
            used_margin=rupees(row["margin"]),
        )


class Priced(BaseModel):
    """The market's part; all null while there is no price."""

    ltp: Rupees | None
    previous_close: Rupees | None
    stale: bool | None = Field(description="the price may be out of date: its line is silent")
    unrealized_pnl: Rupees | None = Field(description="quantity at ltp, less cost")


class PricedHolding(Priced, Holding):
    @classmethod
    def at(cls, row: dict[str, Any], quote: Quote | None) -> Self:
        return cls(**dict(Holding.of(row)), **_priced(row["quantity"], row["cost"], quote))


class PricedPosition(Priced, Position):
    @classmethod
    def at(cls, row: dict[str, Any], quote: Quote | None) -> Self:
        return cls(**dict(Position.of(row)), **_priced(row["net_quantity"], row["cost"], quote))


class Holdings(BaseModel):
    holdings: list[PricedHolding]


class Positions(BaseModel):
    positions: list[PricedPosition]


class Portfolio(BaseModel):
    """A PortfolioFrame (bus/stream_frames.py): the books' part as of a version."""

    type: Literal["portfolio"] = "portfolio"
    version: int
    margins: Margins
    holdings: list[Holding]
    positions: list[Position]

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        return cls(
            version=row["version"],
            margins=Margins.of(row),
            holdings=[Holding.of(each) for each in row["holdings"]],
            positions=[Position.of(each) for each in row["positions"]],
        )


def _shown(row: dict[str, Any], quantity: int) -> dict[str, Any]:
    """Add the members that a holding and a position compute in the same way."""
    shown = {"avg_cost": average(abs(row["cost"]), abs(quantity))}
    return row | shown | {name: rupees(row[name]) for name in ("cost", "realized_pnl")}


def _priced(quantity: int, cost: int, quote: Quote | None) -> dict[str, Any]:
    if quote is None:
        return dict.fromkeys(Priced.model_fields)
    return {
        "ltp": rupees(quote.ltp),
        "previous_close": rupees_or_none(quote.previous_close or None),
        "stale": quote.stale,
        "unrealized_pnl": rupees(unrealized_pnl(quantity, cost, quote.ltp)),
    }
