"""Every code has a sentence and an HTTP status; the exchange's reasons never collapse into ours unsaid."""

from pathlib import Path

from cli.codes import page
from domain.rejects import (
    FIX_CXL_REJ_REASON,
    FIX_ORD_REJ_REASON,
    HTTP_STATUS,
    SENTENCES,
    Refusal,
    RejectCode,
    cancel_reject,
    order_reject,
)


def test_the_maps_are_total() -> None:
    assert set(SENTENCES) == set(RejectCode)
    assert set(HTTP_STATUS) == set(RejectCode)
    assert all(400 <= status < 600 for status in HTTP_STATUS.values())
    assert len(set(SENTENCES.values())) == len(RejectCode)


def test_a_fix_reason_becomes_its_own_code_and_an_unknown_one_says_so() -> None:
    assert {order_reject(reason) for reason in FIX_ORD_REJ_REASON} == set(FIX_ORD_REJ_REASON.values())
    assert order_reject(None) is RejectCode.EXCHANGE_OTHER
    assert order_reject(99) is RejectCode.EXCHANGE_OTHER
    assert cancel_reject(0) is RejectCode.EXCHANGE_TOO_LATE
    assert cancel_reject(99) is RejectCode.EXCHANGE_OTHER
    assert set(FIX_CXL_REJ_REASON.values()) <= set(RejectCode)


def test_a_refusal_says_limit_and_remedy() -> None:
    refusal = Refusal(RejectCode.PRICE_NOT_TICK_MULTIPLE, "price", "0.10", "2450.50")
    said = "The price is not a multiple of the tick size. Limit: 0.10. Nearest: 2450.50."
    assert refusal.sentence == said


def test_the_page_of_codes_is_current() -> None:
    written = Path(__file__).parents[2] / "docs" / "reject-codes.md"
    assert written.read_text() == page(), "write it anew: hundi codes > docs/reject-codes.md"
