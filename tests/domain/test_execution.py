"""Reports on an order: each fill counted once and in order, whatever is repeated, lost or comes too early."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.execution import Agreement, Break, ExchangeView, Step, apply, is_unknown_order
from domain.orders import FINAL, TRANSITIONS, OrderEvent, OrderStatus
from domain.reports import CancelRejected, ExecType, ExecutionReport, OrdStatus
from tests.support.builders import a_report, some_trades

WAITING = ExchangeView(OrderStatus.PENDING_OPEN, 10, None, None)
OPEN = replace(WAITING, status=OrderStatus.OPEN, exchange_order_id="X1")
MOVES = {(before, after) for (before, _), after in TRANSITIONS.items()}


def moved(view: ExchangeView, report: ExecutionReport) -> ExchangeView:
    """The view after a report that has to fit."""
    outcome = apply(view, report)
    assert isinstance(outcome, Step), outcome
    return outcome.view


def told(view: ExchangeView, reports: list[ExecutionReport]) -> tuple[ExchangeView, list[ExecutionReport]]:
    """The view after reports as they come, and those of them that were believed."""
    believed = []
    for report in reports:
        outcome = apply(view, report)
        if isinstance(outcome, Step):
            assert (view.status, outcome.view.status) in MOVES
            view = outcome.view
            believed.append(report)
    return view, believed


ALONG = {
    status: {after for (before, _), after in TRANSITIONS.items() if before is status}
    for status in OrderStatus
}


@st.composite
def lives(draw: st.DrawFn) -> tuple[int, list[ExecutionReport]]:
    """An order's quantity, and what the exchange has to say of it in order, to a final word."""
    fills = draw(st.lists(st.tuples(st.integers(1, 400), st.integers(1, 10**6)), max_size=6))
    rest = draw(st.integers(0, 50)) if fills else draw(st.integers(1, 50))
    quantity = sum(last for last, _ in fills) + rest
    filled = quantity - rest
    reports = [a_report(quantity=quantity, leaves_quantity=quantity), *some_trades(1, fills, quantity)]
    if rest:
        end = draw(st.sampled_from([ExecType.CANCELLED, ExecType.EXPIRED]))
        reports.append(
            a_report(
                exec_id="1/end",
                exec_type=end,
                quantity=quantity,
                cumulative_quantity=filled,
                leaves_quantity=0,
            )
        )
    return quantity, reports


@st.composite
def lies(draw: st.DrawFn, quantity: int) -> ExecutionReport:
    """A trade whose numbers may agree with each other, and need not be true."""
    anything = st.integers(-5, 900)
    filled = draw(anything)
    last, left = draw(st.just(filled) | anything), draw(st.just(quantity - filled) | anything)
    lie = replace(a_report(), exec_id=str(draw(st.uuids())), exec_type=ExecType.TRADE, last_price=100)
    return replace(lie, last_quantity=last, cumulative_quantity=filled, leaves_quantity=left)


@given(lives(), st.data())
def test_no_sequence_of_repeated_lost_early_and_false_reports_fills_too_much_or_twice(
    life: tuple[int, list[ExecutionReport]], data: st.DataObject
) -> None:
    quantity, reports = life
    heard = data.draw(st.lists(st.sampled_from(reports) | lies(quantity), max_size=20))
    view, believed = told(replace(WAITING, quantity=quantity), heard)
    trades = [report for report in believed if report.exec_type is ExecType.TRADE]
    assert len({trade.exec_id for trade in trades}) == len(trades)
    assert view.filled_quantity == sum(trade.last_quantity for trade in trades)
    assert view.filled_value == sum(trade.last_quantity * trade.last_price for trade in trades)
    assert view.filled_quantity >= quantity if view.status is OrderStatus.EXECUTED else True
    assert view.status.is_final or view.filled_quantity < quantity


@given(lives(), st.data())
def test_repeats_between_the_reports_change_nothing_of_the_end(
    life: tuple[int, list[ExecutionReport]], data: st.DataObject
) -> None:
    quantity, reports = life
    heard: list[ExecutionReport] = []
    for report in reports:
        heard += [report, *data.draw(st.lists(st.sampled_from([*heard, report]), max_size=3))]
    start = replace(WAITING, quantity=quantity)
    assert told(start, heard) == told(start, reports)
    assert told(start, reports)[0].status.is_final


@given(st.sampled_from(OrderStatus), st.integers(0, 10), st.sampled_from(OrdStatus), st.integers(0, 10))
def test_a_status_answer_never_moves_a_quantity(
    status: OrderStatus, filled: int, says: OrdStatus, counts: int
) -> None:
    view = replace(OPEN, status=status, filled_quantity=filled, filled_value=filled * 100)
    answer = a_report(exec_type=ExecType.ORDER_STATUS, ord_status=says, cumulative_quantity=counts)
    outcome = apply(view, answer)
    if isinstance(outcome, Step):
        assert (outcome.view.filled_quantity, outcome.view.filled_value) == (filled, filled * 100)
    assert isinstance(outcome, Break) or counts == filled


TRADE = some_trades(1, [(4, 100)])[0]


@pytest.mark.parametrize(
    ("report", "why"),
    [
        (replace(TRADE, last_quantity=0), "a fill of 0 at 100"),
        (replace(TRADE, last_price=-5), "a fill of 4 at -5"),
        (replace(TRADE, leaves_quantity=5), "filled 4 and open 5 do not make 10"),
        (
            replace(TRADE, cumulative_quantity=6, leaves_quantity=4),
            "the exchange counts 6 filled, the journal 4",
        ),
        (some_trades(1, [(11, 100)], 11)[0], "11 filled of 10"),
        (replace(TRADE, leaves_quantity=-1), "a fill of 4 at 100, -1 open"),
        (a_report(), "ACKNOWLEDGED is not possible in OPEN"),
        (
            a_report(exec_type=ExecType.TRADE_CANCEL, reference_exec_id="7"),
            "it refers to trade 7, which does not stand here",
        ),
        (a_report(exec_type=ExecType.CANCELLED, cumulative_quantity=1), "the exchange counts 1 filled"),
    ],
)
def test_a_report_that_does_not_fit_is_a_break_that_says_why(report: ExecutionReport, why: str) -> None:
    outcome = apply(OPEN, report)
    assert isinstance(outcome, Break)
    assert why in outcome.reason


def test_what_trades_beyond_the_order_or_after_its_end_has_traded_all_the_same() -> None:
    beyond = apply(OPEN, replace(some_trades(1, [(11, 100)])[0], quantity=10, leaves_quantity=0))
    assert isinstance(beyond, Step)
    assert (beyond.event, beyond.view.status, beyond.view.filled_quantity) == (
        "FILL",
        OrderStatus.EXECUTED,
        11,
    )
    for status in FINAL:
        late = apply(replace(OPEN, status=status), TRADE)
        assert isinstance(late, Step)
        assert (late.event, late.view.status, late.view.filled_quantity) == ("UNEXPECTED_FILL", status, 4)


def test_fills_add_up_to_the_average_that_is_shown() -> None:
    view = OPEN
    for trade in some_trades(1, [(4, 100_00), (6, 95_00)]):
        view = moved(view, trade)
    assert (view.status, view.filled_quantity, view.filled_value) == (OrderStatus.EXECUTED, 10, 970_00)


def test_a_replaced_order_has_the_new_terms_but_never_less_than_is_filled() -> None:
    view = moved(OPEN, TRADE)
    replaced = a_report(
        exec_type=ExecType.REPLACED, quantity=6, cumulative_quantity=4, leaves_quantity=2, price=99
    )
    assert moved(view, replaced) == replace(view, quantity=6, price=99)
    below = apply(view, replace(replaced, quantity=3))
    assert below == Break("replaced to 3, below the 4 traded")


def test_the_exchanges_refusal_keeps_its_own_words() -> None:
    refusal = a_report(exec_type=ExecType.REJECTED, reject_reason=2, text="market closed")
    view = moved(WAITING, refusal)
    assert (view.status, view.reject_code) == (OrderStatus.REJECTED, "EXCHANGE_CLOSED")
    assert view.reject_reason is not None
    assert view.reject_reason.endswith("market closed")


def test_a_refused_cancel_leaves_the_order_as_it_is() -> None:
    refused = CancelRejected("1-1", "1", "X1", OrdStatus.NEW, False, 0, None)
    assert apply(OPEN, refused) == Step(OPEN, OrderEvent.CANCEL_REJECTED, refused)


def test_an_order_that_never_arrived_is_told_from_one_that_did() -> None:
    answer = a_report(exec_type=ExecType.ORDER_STATUS, ord_status=OrdStatus.REJECTED, reject_reason=5)
    assert is_unknown_order(answer)
    assert not is_unknown_order(replace(answer, reject_reason=1))
    assert not is_unknown_order(replace(answer, exec_type=ExecType.REJECTED))


def test_a_lost_acknowledgement_is_learned_from_a_status_answer() -> None:
    answer = a_report(exec_type=ExecType.ORDER_STATUS)
    assert moved(WAITING, answer).status is OrderStatus.OPEN
    assert apply(OPEN, answer) == Agreement()
