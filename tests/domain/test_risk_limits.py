"""Limits at their edges: the last quantity that passes, the first that does not, the nearest that would."""

from typing import Any

import pytest

from config.rules import house_limits
from domain.orders import Product, Side
from domain.rejects import RejectCode
from domain.risk_limits import NOTHING, Risk, RiskLimits, limit_refusals
from tests.support.builders import some_terms

LIMITS = RiskLimits(exposure=10_000_00, position=150, order_value=8_000_00)


def risk(**changes: Any) -> Risk:
    """Of an order at Rs 50 that opens all it is for, beside nothing."""
    facts: dict[str, Any] = {
        "open_price": 50_00,
        "close_price": 50_00,
        "lot_size": 1,
        "open_quantity": 100,
        "position": 0,
        "exposure": 0,
    }
    return Risk(**(facts | changes))


def refused(
    quantity: int, product: Product = Product.MIS, **changes: Any
) -> list[tuple[RejectCode, str | None]]:
    changes = {"open_quantity": quantity} | changes
    terms = some_terms(product=product, side=Side.BUY, quantity=quantity)
    return [(r.code, r.nearest) for r in limit_refusals(LIMITS, terms, risk(**changes))]


@pytest.mark.parametrize(
    ("quantity", "changes", "expected"),
    [
        (100, {}, []),
        (150, {}, []),
        (151, {}, [(RejectCode.POSITION_LIMIT_EXCEEDED, "150")]),
        (100, {"position": 50}, []),
        (100, {"position": 51}, [(RejectCode.POSITION_LIMIT_EXCEEDED, "99")]),
        (100, {"position": 200}, [(RejectCode.POSITION_LIMIT_EXCEEDED, None)]),
        (100, {"exposure": 5_000_00}, []),
        (100, {"exposure": 5_000_01}, [(RejectCode.EXPOSURE_LIMIT_EXCEEDED, "99")]),
        (100, {"exposure": 11_000_00}, [(RejectCode.EXPOSURE_LIMIT_EXCEEDED, None)]),
        (100, {"exposure": 9_000_00, "open_quantity": 30}, [(RejectCode.EXPOSURE_LIMIT_EXCEEDED, "90")]),
        (100, {"position": 200, "exposure": 99_000_00, "open_quantity": 0}, []),
        (
            165,
            {"lot_size": 15},
            [(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "150"), (RejectCode.POSITION_LIMIT_EXCEEDED, "150")],
        ),
    ],
)
def test_a_limit_is_passed_by_the_first_unit_above_it(
    quantity: int, changes: dict[str, Any], expected: list[tuple[RejectCode, str | None]]
) -> None:
    assert refused(quantity, **changes) == expected


@pytest.mark.parametrize(
    ("quantity", "open_quantity", "expected"),
    [
        # The first 100 close at Rs 50, Rs 5,000 in all; what opens counts at Rs 2,000.
        (100, 0, []),
        (101, 1, []),
        (102, 2, [(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "101")]),
        (104, 4, [(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "101")]),
        (165, 1, [(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "160")]),
    ],
)
def test_what_opens_and_what_closes_count_at_their_own_prices(
    quantity: int, open_quantity: int, expected: list[tuple[RejectCode, str | None]]
) -> None:
    assert refused(quantity, open_quantity=open_quantity, open_price=2_000_00) == expected


def test_a_limit_of_exposure_counts_what_opens_at_what_it_obliges_to() -> None:
    changes: dict[str, Any] = {"exposure": 4_000_00, "open_price": 2_000_00, "open_quantity": 4}
    assert refused(10, **changes)[-1] == (RejectCode.EXPOSURE_LIMIT_EXCEEDED, "9")
    assert refused(9, **(changes | {"open_quantity": 3})) == []


def test_delivery_is_paid_in_full_and_knows_only_the_value_of_an_order() -> None:
    assert refused(160, Product.CNC, position=10_000, exposure=10**12) == []
    assert refused(161, Product.CNC) == [(RejectCode.ORDER_VALUE_LIMIT_EXCEEDED, "160")]


def test_without_limits_on_record_nothing_may_be_risked() -> None:
    terms = some_terms(product=Product.MIS, quantity=1)
    codes = [r.code for r in limit_refusals(NOTHING, terms, risk(open_quantity=1))]
    assert codes == [
        RejectCode.ORDER_VALUE_LIMIT_EXCEEDED,
        RejectCode.POSITION_LIMIT_EXCEEDED,
        RejectCode.EXPOSURE_LIMIT_EXCEEDED,
    ]


def test_the_house_has_limits() -> None:
    assert house_limits() and all(
        row.exposure and row.position and row.order_value for _, row in house_limits()
    )
