"""Publishes the day's SPAN file, `exchange-<EXCHANGE>-span-<YYYYMMDD>.spn`, in the folder of risk files.

Whoever reads it finds the whole file or none: it is written aside, synced and renamed. Publishing a day again
replaces its file by an equal one, but for the time it was made. Called by the simulator's process, at start
and as each day begins.
"""

import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from domain.instruments import Instrument
from domain.span import SpanParameters
from domain.time import IST, NANOS, trade_date
from exchange.files.span_directory import span_path
from exchange.simulator.clearing.risk_arrays import SCAN_POINTS, underlyings
from exchange.simulator.clearing.span_document import span_document

CLEARING_ORGANISATION = "NSCCL"


def publish_span(
    exchange: str, instruments: Mapping[str, Instrument], data_dir: Path, now_ns: int
) -> Path | None:
    """Write the file of today; None for an exchange that has no derivatives to margin."""
    parameters = span_parameters(exchange, instruments, now_ns)
    if parameters is None:
        return None
    path = span_path(data_dir, exchange, parameters.business_date)
    aside = path.with_suffix(".part")
    with aside.open("wb") as file:
        file.write(span_document(parameters))
        file.flush()
        os.fsync(file.fileno())
    return aside.replace(path)


def span_parameters(
    exchange: str, instruments: Mapping[str, Instrument], now_ns: int
) -> SpanParameters | None:
    """What the clearing corporation says of the exchange's contracts today; None when it has none."""
    day = trade_date(now_ns)
    products = underlyings(instruments, day)
    if not products:
        return None
    contracts = [contract for product in products for contract in product.contracts()]
    commodities = [product.commodity() for product in products]
    return SpanParameters(
        clearing_organisation=CLEARING_ORGANISATION,
        exchange=exchange,
        business_date=day,
        created=f"{datetime.fromtimestamp(now_ns // NANOS, IST):%Y%m%d%H%M}",
        scenarios=SCAN_POINTS,
        contracts={contract.key: contract for contract in contracts},
        commodities={commodity.code: commodity for commodity in commodities},
        commodity_of_portfolio={pf: c.code for c in commodities for pf in c.portfolios},
        inter_commodity_spreads=(),
    )
