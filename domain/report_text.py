"""What the exchange said, in one sentence a report: `Filled 10 @ 2922.20 (E406), 0 left`.

For whoever reads an order's history: signals to its workflow carry these. Amounts are rupees; the exchange's
own name of a report (ExecID 17) stands in brackets, its Text (58) at the end, printable and bounded. Called
by the order worker.
"""

from collections.abc import Callable

from domain.money import rupees
from domain.rejects import SENTENCES, cancel_reject, order_reject
from domain.reports import CancelRejected, ExecType, ExecutionReport

WORDS_MAX = 120
"""Of the exchange's own words, in characters."""


def report_sentence(report: ExecutionReport | CancelRejected) -> str:
    """One line, without a full stop unless the exchange's reason is a sentence of its own."""
    if isinstance(report, CancelRejected):
        asked = "Change" if report.response_to_replace else "Cancel"
        said = f"{asked} refused ({report.cl_ord_id}): {SENTENCES[cancel_reject(report.reject_reason)]}"
    else:
        said = _SENTENCES[report.exec_type](report)
    return f"{said}{_own_words(report.text)}"


def _acknowledged(report: ExecutionReport) -> str:
    waits = f"{report.leaves_quantity} wait for trigger {_price(report.trigger_price)}"
    stands = waits if report.stop else f"{report.leaves_quantity} open"
    return f"Acknowledged as {report.exchange_order_id} ({report.exec_id}), {stands}"


def _replaced(report: ExecutionReport) -> str:
    trigger = "" if report.trigger_price is None else f", trigger {rupees(report.trigger_price)}"
    terms = f"{report.quantity} @ {_price(report.price)}{trigger}"
    return f"Replaced: {terms}, {report.leaves_quantity} left ({report.exec_id})"


def _cancelled(report: ExecutionReport) -> str:
    how = "by the exchange" if report.orig_cl_ord_id is None else "as asked"
    return f"Cancelled {how}, {_unfilled(report)}"


def _rejected(report: ExecutionReport) -> str:
    return f"Rejected ({report.exec_id}): {SENTENCES[order_reject(report.reject_reason)]}"


def _restated(report: ExecutionReport) -> str:
    return f"Repriced: {report.leaves_quantity} rest @ {_price(report.price)} ({report.exec_id})"


def _filled(report: ExecutionReport) -> str:
    fill = f"{report.last_quantity} @ {rupees(report.last_price)} ({report.exec_id})"
    return f"Filled {fill}, {report.leaves_quantity} left"


def _taken_back(report: ExecutionReport) -> str:
    filled = f"{report.cumulative_quantity} filled"
    return f"Trade {report.reference_exec_id} taken back ({report.exec_id}), {filled}"


def _corrected(report: ExecutionReport) -> str:
    fill = f"{report.last_quantity} @ {rupees(report.last_price)} ({report.exec_id})"
    return f"Trade {report.reference_exec_id} corrected to {fill}, {report.cumulative_quantity} filled"


def _status(report: ExecutionReport) -> str:
    word = report.ord_status.name.lower().replace("_", " ")
    stands = f"{report.cumulative_quantity} filled, {report.leaves_quantity} left"
    return f"Stands {word} when asked, {stands}"


def _unfilled(report: ExecutionReport) -> str:
    return f"{report.quantity - report.cumulative_quantity} not filled ({report.exec_id})"


def _price(paise: int | None) -> str:
    return "market" if paise is None else rupees(paise)


def _own_words(text: str | None) -> str:
    own = "".join(filter(str.isprintable, text or "")).strip()
    return f" [{own[:WORDS_MAX]}]" if own else ""


_SENTENCES: dict[ExecType, Callable[[ExecutionReport], str]] = {
    ExecType.NEW: _acknowledged,
    ExecType.DONE_FOR_DAY: lambda report: f"Done for the day, {_unfilled(report)}",
    ExecType.CANCELLED: _cancelled,
    ExecType.REPLACED: _replaced,
    ExecType.REJECTED: _rejected,
    ExecType.EXPIRED: lambda report: f"Expired, {_unfilled(report)}",
    ExecType.RESTATED: _restated,
    ExecType.TRADE: _filled,
    ExecType.TRADE_CORRECT: _corrected,
    ExecType.TRADE_CANCEL: _taken_back,
    ExecType.ORDER_STATUS: _status,
    ExecType.TRIGGERED: lambda report: f"Triggered, {report.leaves_quantity} open ({report.exec_id})",
}
