"""What the exchange says, as people read it: every kind of report has a sentence of its own."""

from dataclasses import replace
from typing import Any

import pytest

from domain.report_text import WORDS_MAX, report_sentence
from domain.reports import CancelRejected, ExecType, OrdStatus
from tests.support.builders import a_report

TRADED: dict[str, Any] = {"cumulative_quantity": 10, "leaves_quantity": 0, "last_quantity": 10}
SAID: dict[ExecType, tuple[dict[str, Any], str]] = {
    ExecType.NEW: ({}, "Acknowledged as X7 (E406), 10 open"),
    ExecType.DONE_FOR_DAY: ({"leaves_quantity": 0}, "Done for the day, 10 not filled (E406)"),
    ExecType.CANCELLED: (
        {"orig_cl_ord_id": "7", "cumulative_quantity": 4, "leaves_quantity": 0},
        "Cancelled as asked, 6 not filled (E406)",
    ),
    ExecType.REPLACED: (
        {"quantity": 20, "price": 2450_00, "leaves_quantity": 16, "cumulative_quantity": 4},
        "Replaced: 20 @ 2450.00, 16 left (E406)",
    ),
    ExecType.REJECTED: (
        {"reject_reason": 2, "leaves_quantity": 0},
        "Rejected (E406): The exchange is closed for this order.",
    ),
    ExecType.EXPIRED: ({"leaves_quantity": 0}, "Expired, 10 not filled (E406)"),
    ExecType.RESTATED: (
        {"price": 2922_20, "cumulative_quantity": 4, "leaves_quantity": 6},
        "Repriced: 6 rest @ 2922.20 (E406)",
    ),
    ExecType.TRADE: (TRADED | {"last_price": 2922_20}, "Filled 10 @ 2922.20 (E406), 0 left"),
    ExecType.TRADE_CORRECT: (
        TRADED | {"last_price": 2921_05, "reference_exec_id": "E400"},
        "Trade E400 corrected to 10 @ 2921.05 (E406), 10 filled",
    ),
    ExecType.TRADE_CANCEL: (
        {"reference_exec_id": "E400", "leaves_quantity": 0},
        "Trade E400 taken back (E406), 0 filled",
    ),
    ExecType.ORDER_STATUS: (
        {"ord_status": OrdStatus.PARTIALLY_FILLED, "cumulative_quantity": 4, "leaves_quantity": 6},
        "Stands partially filled when asked, 4 filled, 6 left",
    ),
    ExecType.TRIGGERED: ({"price": 2450_00}, "Triggered, 10 open (E406)"),
}


@pytest.mark.parametrize("kind", ExecType)
def test_every_kind_of_report_is_a_sentence(kind: ExecType) -> None:
    facts, sentence = SAID[kind]
    assert report_sentence(a_report(7, exec_id="E406", exec_type=kind, **facts)) == sentence


def test_a_stop_waits_for_its_trigger_and_is_changed_with_it() -> None:
    stop = a_report(7, exec_id="E1", stop=True, price=2440_00, trigger_price=2450_50)
    assert report_sentence(stop) == "Acknowledged as X7 (E1), 10 wait for trigger 2450.50"
    changed = replace(stop, exec_type=ExecType.REPLACED)
    assert report_sentence(changed) == "Replaced: 10 @ 2440.00, trigger 2450.50, 10 left (E1)"


def test_what_the_exchange_cancels_of_itself_is_told_with_its_words() -> None:
    told = a_report(7, exec_id="E9", exec_type=ExecType.CANCELLED, leaves_quantity=0, text="Self-trade")
    assert report_sentence(told) == "Cancelled by the exchange, 10 not filled (E9) [Self-trade]"


@pytest.mark.parametrize(("replaces", "asked"), [(True, "Change"), (False, "Cancel")])
def test_a_refused_request_is_told_from_the_order(replaces: bool, asked: str) -> None:
    refused = CancelRejected("7-1", "7", "X7", OrdStatus.FILLED, replaces, 0, None)
    reason = "Too late: the exchange has already traded or closed the order."
    assert report_sentence(refused) == f"{asked} refused (7-1): {reason}"


def test_the_exchange_s_words_are_printable_and_bounded() -> None:
    told = a_report(7, exec_type=ExecType.REJECTED, text="\x1b[31mno\x00\u202e " + "x" * 500)
    words = report_sentence(told).partition(" [")[2]
    assert words.isprintable()
    assert len(words) == WORDS_MAX + 1
