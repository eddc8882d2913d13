"""Kind x validity x product x phase, each cell as market-rules.md has it: tests/domain/order_kinds.tsv.

`now`: the market takes it; `bell`: armed for the continuous market; `pre`: armed for the pre-open; `-`: the
market is closed to it; `intraday`: past the square-off; `product`, `gtt`: not offered. A section is a
session class.
"""

from datetime import date, time
from pathlib import Path
from typing import NamedTuple

import pytest

from config.sessions import broker_hours
from domain.exchange_terms import admit
from domain.instruments import Instrument, InstrumentKind, Segment
from domain.orders import OrderTerms, OrderType, Product, Validity
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from domain.time import ist_ns
from domain.validation import PRICED, TRIGGERED, terms_refusals
from tests.support.builders import an_instrument, some_terms

P = MarketPhase
DAY = date(2026, 11, 25)
MOMENTS: dict[str, tuple[MarketPhase, time, time]] = {
    # column -> the phase, and when it is looked at: in the cash segment, in derivatives
    "amo": (P.CLOSED, time(8, 30), time(8, 30)),
    "closed": (P.CLOSED, time(15, 45), time(15, 42)),
    "pre-open": (P.PRE_OPEN_ENTRY, time(9, 2), time(9, 2)),
    "pre-limit": (P.PRE_OPEN_LIMIT, time(9, 7), time(9, 7)),
    "pre-match": (P.PRE_OPEN_MATCHING, time(9, 11), time(9, 11)),
    "open": (P.CONTINUOUS, time(11, 0), time(11, 0)),
    "late": (P.CONTINUOUS, time(15, 5), time(15, 30)),
    "reference": (P.CLOSING_REFERENCE, time(15, 17), time(15, 17)),
    "auction": (P.CLOSING_AUCTION, time(15, 22), time(15, 22)),
    "auction-limit": (P.CLOSING_AUCTION_LIMIT, time(15, 26), time(15, 26)),
    "match": (P.CLOSING_MATCHING, time(15, 32), time(15, 32)),
    "post-close": (P.POST_CLOSE, time(15, 55), time(15, 55)),
    "halted": (P.HALTED, time(12, 0), time(12, 0)),
}
WORDS = {
    RejectCode.MARKET_CLOSED: "-",
    RejectCode.INTRADAY_CLOSED: "intraday",
    RejectCode.PRODUCT_NOT_ALLOWED: "product",
    RejectCode.VALIDITY_NOT_SUPPORTED: "gtt",
}
ARMED = {P.CONTINUOUS: "bell", P.PRE_OPEN_ENTRY: "pre"}


class Row(NamedTuple):
    session_class: SessionClass
    order_type: OrderType
    validity: Validity
    product: Product
    cells: dict[str, str]


def table() -> list[Row]:
    rows = []
    for section in Path(__file__).with_name("order_kinds.tsv").read_text().strip().split("\n\n"):
        (session_class, _, _, *moments), *lines = (line.split("\t") for line in section.splitlines())
        for kind, validity, product, *cells in lines:
            told = (OrderType(kind), Validity(validity), Product(product))
            rows.append(Row(SessionClass(session_class), *told, dict(zip(moments, cells, strict=True))))
    return rows


def instrument_of(session_class: SessionClass) -> Instrument:
    if session_class.segment is Segment.CASH:
        return an_instrument()
    return an_instrument(segment=Segment.FO, kind=InstrumentKind.FUTURE, isin=None, expiry=date(2026, 12, 29))


def outcome(row: Row, moment: str) -> str:
    """As the order's gates judge it, by the first of their refusals (pretrade/checks.py)."""
    phase, cash, derivatives = MOMENTS[moment]
    at_ns = ist_ns(DAY, cash if row.session_class.segment is Segment.CASH else derivatives)
    terms: OrderTerms = some_terms(
        order_type=row.order_type,
        validity=row.validity,
        product=row.product,
        price=2450_50 if row.order_type in PRICED else None,
        trigger_price=2450_00 if row.order_type in TRIGGERED else None,
    )
    refusals = terms_refusals(terms, instrument_of(row.session_class), DAY)
    entered = admit(terms, phase, row.session_class, broker_hours(), at_ns, at_ns)
    if refusals or isinstance(entered, Refusal):
        refused = [*refusals, *([entered] if isinstance(entered, Refusal) else [])]
        return WORDS[refused[0].code]
    return ARMED[entered.release_phases[0]] if entered.release_phases else "now"


@pytest.mark.parametrize("row", table(), ids=lambda row: "-".join(row[:4]))
def test_each_kind_meets_each_phase_as_the_rules_have_it(row: Row) -> None:
    assert {moment: outcome(row, moment) for moment in row.cells} == row.cells


def test_no_cell_is_missing() -> None:
    rows = table()
    asked = {row[:4] for row in rows}
    for session_class in (SessionClass.CAS, SessionClass.FO, SessionClass.FRONT_FUTURE):
        for kind in OrderType:
            assert {(session_class, kind, v, p) for v in Validity for p in Product} <= asked
    assert all(row.cells.keys() == MOMENTS.keys() for row in rows if row.session_class is SessionClass.CAS)
