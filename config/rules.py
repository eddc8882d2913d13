"""The market's dated numbers: csv files beside this module, read into the domain's values.

Each row has an `effective_from`; in force on a day are the rows of the latest date not after it. A day before
the first is an error, never a guess: a rule that is not known must stop whoever asks. Numbers are decimal
strings in the files and exact integers from here on. Called at start by the processes that apply the rules.
"""

import csv
from collections.abc import Iterable
from datetime import date, time
from functools import lru_cache
from pathlib import Path

from domain.charges import RATE_DECIMALS, ChargeRates, TradeKind
from domain.exchange_terms import ProtectionSlab
from domain.instruments import InstrumentKind
from domain.market_halts import HaltRule
from domain.money import paise, scaled
from domain.order_rules import OrderRules, SelfTradePolicy
from domain.portfolio_margin import ExposureRate
from domain.price_bands import BandRules, ProtectionRule
from domain.risk_limits import RiskLimits
from domain.series import ListingRule
from domain.time import NANOS

FOLDER = Path(__file__).parent
_MINUTE_NS = 60 * NANOS


def rows_in_force(path: Path, day: date) -> list[dict[str, str]]:
    """The rows of a dated csv file on a day, in the file's order. Raises OSError, KeyError or LookupError."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    dates = {date.fromisoformat(row["effective_from"]) for row in rows}
    in_force = max((start for start in dates if start <= day), default=None)
    if in_force is None:
        raise LookupError(f"{path.name} has nothing in force on {day}")
    return [row for row in rows if row["effective_from"] == in_force.isoformat()]


def charge_rates(day: date, folder: Path = FOLDER) -> dict[tuple[str, TradeKind], ChargeRates]:
    """The rate card of a day, by exchange and kind of trade."""
    rows = rows_in_force(folder / "charge_rates.csv", day)
    return {(row["exchange"], TradeKind(row["kind"])): _charge_rates(row) for row in rows}


def _charge_rates(row: dict[str, str]) -> ChargeRates:
    def rate(name: str) -> int:
        return scaled(row[f"{name}_percent"], RATE_DECIMALS)

    return ChargeRates(
        brokerage=rate("brokerage") if row["brokerage_percent"] else None,
        brokerage_most=paise(row["brokerage_most"]),
        stt_buy=rate("stt_buy"),
        stt_sell=rate("stt_sell"),
        exchange=rate("exchange"),
        ipft=rate("ipft"),
        sebi=rate("sebi"),
        stamp=rate("stamp"),
        gst=rate("gst"),
        depository_charge=paise(row["depository_charge"]),
    )


def exposure_rates(day: date, folder: Path = FOLDER) -> dict[str, ExposureRate]:
    """Extreme loss margin by product; `*` is every other product."""
    return {
        row["product"]: ExposureRate(
            _millionths(row["percent"]), _millionths(row["expiry_day_short_option_percent"])
        )
        for row in rows_in_force(folder / "exposure_rates.csv", day)
    }


def market_protection(day: date, folder: Path = FOLDER) -> tuple[ProtectionSlab, ...]:
    """How far a market order may trade from the last price, by kind, cheapest prices first."""
    return tuple(
        ProtectionSlab(
            InstrumentKind(row["kind"]),
            paise(row["price_below"]) if row["price_below"] else None,
            _basis_points(row["percent"]),
        )
        for row in rows_in_force(folder / "market" / "market_protection.csv", day)
    )


def halt_rules(day: date, folder: Path = FOLDER) -> tuple[HaltRule, ...]:
    """The market-wide circuit breaker."""
    return tuple(
        HaltRule(
            move_percent=int(row["move_percent"]),
            from_ist=time.fromisoformat(row["from_ist"]),
            halt_minutes=int(row["halt_minutes"]) if row["halt_minutes"] else None,
            auction_minutes=int(row["auction_minutes"] or 0),
        )
        for row in rows_in_force(folder / "market_halts.csv", day)
    )


def band_rules(day: date, folder: Path = FOLDER) -> BandRules:
    """Of the dynamic bands."""
    [row] = rows_in_force(folder / "dynamic_bands.csv", day)
    return BandRules(
        width=_basis_points(row["percent"]),
        flex=_basis_points(row["flex_percent"]),
        reached_within=_basis_points(row["reached_within_percent"]),
        trades=int(row["trades"]),
        clients=int(row["clients"]),
        members=int(row["members"]),
        cooling_ns=int(row["cooling_minutes"]) * _MINUTE_NS,
    )


def protection_rules(day: date, folder: Path = FOLDER) -> tuple[ProtectionRule, ...]:
    """Limit price protection, narrower reference prices first."""
    return tuple(_protection_rules(rows_in_force(folder / "price_protection.csv", day)))


def _protection_rules(rows: Iterable[dict[str, str]]) -> Iterable[ProtectionRule]:
    for row in rows:
        yield ProtectionRule(
            kind=InstrumentKind(row["kind"]),
            reference_at_most=paise(row["reference_at_most"]) if row["reference_at_most"] else None,
            width=paise(row["width_rupees"]) if row["width_rupees"] else None,
            width_basis_points=_basis_points(row["width_percent"]) if row["width_percent"] else None,
            window_ns=int(row["reference_seconds"]) * NANOS,
        )


def listing_rules(day: date, folder: Path = FOLDER) -> tuple[ListingRule, ...]:
    """Which expiries of derivatives are listed."""
    return tuple(
        ListingRule(
            exchange=row["exchange"],
            weekly=row["cycle"] == "WEEKLY",
            underlying=row["underlying"],
            weekday=int(row["weekday"]),
            listed=int(row["listed"]),
        )
        for row in rows_in_force(folder / "market" / "listings.csv", day)
    )


def house_limits(folder: Path = FOLDER) -> list[tuple[date, RiskLimits]]:
    """What an account may risk where nothing else is said of it, with the day from which on; every row."""
    with (folder / "risk_limits.csv").open(newline="", encoding="utf-8") as file:
        return [
            (date.fromisoformat(row["effective_from"]), _risk_limits(row)) for row in csv.DictReader(file)
        ]


def _risk_limits(row: dict[str, str]) -> RiskLimits:
    return RiskLimits(
        exposure=paise(row["exposure_limit"]),
        position=int(row["position_limit"]),
        order_value=paise(row["order_value_limit"]),
    )


@lru_cache(maxsize=8)
def order_rules(day: date, folder: Path = FOLDER) -> OrderRules:
    """How many orders of an account may live, and what becomes of two that would meet."""
    [row] = rows_in_force(folder / "order_rules.csv", day)
    return OrderRules(int(row["open_orders_max"]), SelfTradePolicy(row["self_trade_policy"]))


def _basis_points(percent: str) -> int:
    return scaled(percent, 2)


def _millionths(percent: str) -> int:
    return scaled(percent, 4)
