"""What a trade costs besides its price: brokerage, taxes and fees by a dated rate card.

STT is rounded to the rupee, every other line to the paisa, each once and from the exact amount; GST is on
brokerage, exchange and SEBI fee before their rounding, IPFT stays out of it. The depository's charge is a
debit of the ledger, not a line of the contract note. The cards are config/charge_rates.csv; called by the
booking of trades and the contract note (market-rules section 6).
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from domain.instruments import InstrumentKind
from domain.money import PAISE_PER_RUPEE, round_half_up
from domain.orders import Product, Side

RATE_DECIMALS = 5
"""Of a percentage, so that 0.00297% is the integer 297."""
UNITY = 100 * 10**RATE_DECIMALS
"""A rate of 100%."""


class TradeKind(StrEnum):
    DELIVERY = "DELIVERY"
    INTRADAY = "INTRADAY"
    FUTURES = "FUTURES"
    OPTIONS = "OPTIONS"


@dataclass(frozen=True, slots=True)
class ChargeRates:
    """One row of a card: rates in parts of `UNITY`, amounts in paise."""

    brokerage: int | None
    """None: `brokerage_most` whatever the turnover."""
    brokerage_most: int
    """Of one order, however many trades it takes."""
    stt_buy: int
    stt_sell: int
    exchange: int
    ipft: int
    sebi: int
    stamp: int
    """Of purchases."""
    gst: int
    depository_charge: int
    """For each ISIN sold out of the account on a day."""


@dataclass(frozen=True, slots=True)
class Charges:
    """The lines of the contract note, in paise."""

    brokerage: int
    stt: int
    exchange: int
    ipft: int
    sebi: int
    stamp: int
    gst: int

    @property
    def total(self) -> int:
        return self.brokerage + self.stt + self.exchange + self.ipft + self.sebi + self.stamp + self.gst


def trade_kind(kind: InstrumentKind, product: Product) -> TradeKind:
    """Which column of the card a trade falls under."""
    if kind is InstrumentKind.FUTURE:
        return TradeKind.FUTURES
    if kind is InstrumentKind.OPTION:
        return TradeKind.OPTIONS
    return TradeKind.DELIVERY if product is Product.CNC else TradeKind.INTRADAY


def trade_charges(side: Side, turnover: int, rates: ChargeRates, turnover_before: int = 0) -> Charges:
    """The charges of a trade of `turnover` paise (quantity times price; the premium, for an option).

    `turnover_before` is what earlier trades of the same order came to: its brokerage is charged once.
    """
    brokerage = _brokerage(turnover_before + turnover, rates) - _brokerage(turnover_before, rates)
    stt = rates.stt_buy if side is Side.BUY else rates.stt_sell
    taxed = brokerage * UNITY + turnover * (rates.exchange + rates.sebi)
    return Charges(
        brokerage=brokerage,
        stt=round_half_up(turnover * stt, UNITY * PAISE_PER_RUPEE) * PAISE_PER_RUPEE,
        exchange=round_half_up(turnover * rates.exchange, UNITY),
        ipft=round_half_up(turnover * rates.ipft, UNITY),
        sebi=round_half_up(turnover * rates.sebi, UNITY),
        stamp=round_half_up(turnover * rates.stamp, UNITY) if side is Side.BUY else 0,
        gst=round_half_up(taxed * rates.gst, UNITY**2),
    )


def depository_charge(isins_sold: Collection[str], rates: ChargeRates) -> int:
    """The day's debit for shares that left the account: each ISIN once, whatever the number of trades."""
    return len(set(isins_sold)) * rates.depository_charge


def _brokerage(turnover: int, rates: ChargeRates) -> int:
    """Of an order that has traded so much."""
    if rates.brokerage is None:
        return rates.brokerage_most if turnover else 0
    return min(round_half_up(turnover * rates.brokerage, UNITY), rates.brokerage_most)
