"""The market's and the house's hours as they stand in config/market/: dated csv rows, read once.

A row that cannot be read stops the process that needs it: hours are never guessed. Columns are those of
the dataclasses in domain/sessions.py and domain/broker_hours.py.
"""

import csv
from collections.abc import Iterator
from datetime import date, time
from functools import lru_cache
from pathlib import Path

from domain.broker_hours import AfterMarket, BrokerHours, SquareOff
from domain.reports import MarketPhase
from domain.sessions import Calendar, ClosingRule, SessionClass, SessionRules, Start

FOLDER = Path(__file__).parent / "market"
Row = dict[str, str]


@lru_cache
def session_rules() -> SessionRules:
    """Phases, calendar and closing prices. Raises OSError, KeyError or ValueError."""
    return SessionRules(
        _calendar(),
        tuple(sorted((_start(row, "effective_from") for row in _rows("phases")), key=_by_time)),
        tuple(sorted((_start(row, "day") for row in _rows("special_sessions")), key=_by_time)),
        tuple(sorted((_closing(row) for row in _rows("closing_prices")), key=lambda rule: rule.day)),
    )


@lru_cache
def broker_hours() -> BrokerHours:
    """After-market windows and square-off times. Raises OSError, KeyError or ValueError."""
    return BrokerHours(
        session_rules(),
        tuple(sorted((_after_market(row) for row in _rows("after_market")), key=lambda row: row.day)),
        tuple(sorted((_square_off(row) for row in _rows("square_off")), key=lambda row: row.day)),
    )


def _rows(name: str) -> Iterator[Row]:
    with (FOLDER / f"{name}.csv").open(newline="", encoding="utf-8") as rows:
        yield from csv.DictReader(rows)


def _calendar() -> Calendar:
    days: dict[str, dict[date, str]] = {
        kind: {} for kind in ("HOLIDAY", "SETTLEMENT_HOLIDAY", "TRADING_DAY", "SPECIAL_SESSION")
    }
    for row in _rows("calendar"):
        days[row["kind"]][date.fromisoformat(row["day"])] = row["name"]
    yearly = {(int(row["month"]), int(row["day"])): row["name"] for row in _rows("yearly_holidays")}
    return Calendar(
        days["HOLIDAY"], days["SETTLEMENT_HOLIDAY"], days["TRADING_DAY"], days["SPECIAL_SESSION"], yearly
    )


def _start(row: Row, dated: str) -> Start:
    return Start(
        date.fromisoformat(row[dated]),
        SessionClass(row["session_class"]),
        time.fromisoformat(row["starts_ist"]),
        time.fromisoformat(row["latest_ist"] or row["starts_ist"]),
        MarketPhase(row["phase"]),
    )


def _by_time(start: Start) -> tuple[date, time]:
    return start.day, start.earliest


def _closing(row: Row) -> ClosingRule:
    band = int(row["band_percent"]) if row["band_percent"] else None
    return ClosingRule(*_dated(row), int(row["average_minutes"]), band)


def _after_market(row: Row) -> AfterMarket:
    opens, closes = time.fromisoformat(row["opens_ist"]), time.fromisoformat(row["closes_ist"])
    return AfterMarket(*_dated(row), opens, closes, MarketPhase(row["released_from"]))


def _square_off(row: Row) -> SquareOff:
    return SquareOff(*_dated(row), time.fromisoformat(row["at_ist"]))


def _dated(row: Row) -> tuple[date, SessionClass]:
    return date.fromisoformat(row["effective_from"]), SessionClass(row["session_class"])
