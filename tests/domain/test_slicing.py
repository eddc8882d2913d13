"""Slices make the whole: quantities in lots below the freeze, the block's parts, and the status of all."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.margin import Block, BlockOutcome
from domain.orders import OrderStatus
from domain.rejects import RejectCode
from domain.slicing import SLICES_MOST, parts, slice_size, slices, whole_status
from domain.time import trade_date
from domain.validation import terms_refusals
from tests.support.builders import an_instrument, some_terms

S = OrderStatus
TODAY = trade_date(1_795_492_800_000_000_000)


@given(
    lots=st.integers(1, 10_000),
    lot=st.integers(1, 100),
    freeze=st.integers(1, 20_000),
    closing=st.integers(0, 10**6),
)
def test_slices_and_their_blocks_add_up_to_the_whole(lots: int, lot: int, freeze: int, closing: int) -> None:
    instrument = an_instrument(lot_size=lot, freeze_quantity=freeze)
    quantity = lots * lot
    quantities = slices(quantity, instrument)
    assert sum(quantities) == quantity
    assert all(0 < one <= slice_size(instrument) and one % lot == 0 for one in quantities)
    assert all(one == slice_size(instrument) for one in quantities[:-1])
    closing = min(closing, quantity)
    block = Block(BlockOutcome.BLOCKED, quantity - closing, closing, 7, 10**12, 1)
    split = list(parts(block, quantities))
    assert [one.open_quantity + one.close_quantity for one in split] == quantities
    assert sum(one.required for one in split) == block.required
    assert sum(one.close_quantity for one in split) == closing


@pytest.mark.parametrize(
    ("quantity", "sliced", "code", "nearest"),
    [
        (15_000, False, None, None),
        (15_001, False, RejectCode.QUANTITY_ABOVE_FREEZE, "15000"),
        (15_001, True, None, None),
        (SLICES_MOST * 15_000, True, None, None),
        (SLICES_MOST * 15_000 + 1, True, RejectCode.TOO_MANY_SLICES, "300000"),
    ],
)
def test_above_the_freeze_quantity_only_slices_are_taken_and_not_too_many(
    quantity: int, sliced: bool, code: RejectCode | None, nearest: str | None
) -> None:
    refusals = terms_refusals(some_terms(quantity=quantity), an_instrument(), TODAY, sliced=sliced)
    assert [(r.code, r.nearest) for r in refusals] == ([(code, nearest)] if code else [])


@pytest.mark.parametrize(
    ("statuses", "filled", "expected"),
    [
        ([S.OPEN, S.OPEN], 0, S.OPEN),
        ([S.EXECUTED, S.OPEN], 5, S.PARTIALLY_FILLED),
        ([S.PENDING_VALIDATION, S.OPEN], 0, S.PENDING_VALIDATION),
        ([S.PENDING_OPEN, S.OPEN], 0, S.OPEN),
        ([S.EXECUTED, S.PENDING_OPEN], 5, S.PARTIALLY_FILLED),
        ([S.EXECUTED, S.CANCELLED], 5, S.CANCELLED),
        ([S.EXECUTED, S.EXECUTED], 5, S.EXECUTED),
        ([S.REJECTED, S.REJECTED], 0, S.REJECTED),
        ([S.CANCELLED, S.OPEN], 0, S.OPEN),
        ([S.SETTLED, S.EXECUTED], 5, S.EXECUTED),
    ],
)
def test_the_whole_is_under_way_while_a_slice_is(
    statuses: list[S], filled: int, expected: OrderStatus
) -> None:
    assert whole_status(statuses, filled) is expected
