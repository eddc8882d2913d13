"""Portfolios margined by the simulated clearing corporation's parameters, for tests without a market."""

import time
from collections.abc import Mapping
from functools import cache

from redis.asyncio import Redis

from config.rules import exposure_rates
from domain.instruments import Instrument
from domain.portfolio_margin import MarginParameters
from domain.portfolios import RiskRules
from domain.rejects import Refusal, RejectCode
from exchange.files.master import read_master
from exchange.simulator.clearing.span_publisher import span_parameters
from storage.database import Database
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView


@cache
def parameters() -> MarginParameters:
    """Of the NSE's contracts, today."""
    span = span_parameters("NSE", read_master("NSE"), time.time_ns())
    assert span is not None
    return MarginParameters(span, exposure_rates(span.business_date))


@cache
def master() -> dict[str, Instrument]:
    """By instrument id."""
    return {row.instrument_id: row for row in read_master("NSE").values()}


def todays(exchange: str) -> MarginParameters | Refusal:
    """Only the NSE has derivatives."""
    return parameters() if exchange == "NSE" else Refusal(RejectCode.SPAN_FILE_MISSING)


def some_portfolios(
    database: Database,
    redis: Redis,
    rules: RiskRules = todays,
    instruments: Mapping[str, Instrument] | None = None,
) -> DerivativeMargins:
    """Of the NSE's master, over the real ledger and view."""
    return DerivativeMargins(
        MarginView(redis, database), master() if instruments is None else instruments, rules
    )
