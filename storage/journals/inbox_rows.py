"""What came in from the exchange, one application message each, and its form in `exchange_inbox.report`."""

from dataclasses import dataclass
from typing import Any

import msgspec
from psycopg.types.json import Jsonb

from domain.reports import CancelRejected, ExecType, ExecutionReport, Report


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A message the codec refused: kept as it came, a break from the start."""

    fix: str
    reason: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """One application message of the exchange."""

    exchange: str
    session: str
    msg_seq_num: int
    report: Report | Unreadable
    received_at_ns: int

    @property
    def report_id(self) -> str:
        """Unique per exchange; status answers and unreadable messages have no name but their place."""
        report = self.report
        unnamed = not isinstance(report, ExecutionReport | CancelRejected)
        if unnamed or (isinstance(report, ExecutionReport) and report.exec_type is ExecType.ORDER_STATUS):
            return f"{self.session}#{self.msg_seq_num}"
        assert isinstance(report, ExecutionReport | CancelRejected)
        return report.report_id

    @property
    def order_id(self) -> int | None:
        """The order a ClOrdID belongs to: its digits before a cancel's or replace's `-n`."""
        if not isinstance(self.report, ExecutionReport | CancelRejected):
            return None
        digits = self.report.cl_ord_id.partition("-")[0]
        return int(digits) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else None


def report_of(document: dict[str, Any]) -> ExecutionReport | CancelRejected:
    """The report in `exchange_inbox.report`."""
    kinds = {"execution": ExecutionReport, "cancel_rejected": CancelRejected}
    return msgspec.convert(document, kinds[document["kind"]])


def document(report: Report | Unreadable) -> Jsonb:
    kind = {ExecutionReport: "execution", CancelRejected: "cancel_rejected"}.get(type(report), "unreadable")
    return Jsonb({"kind": kind, **msgspec.to_builtins(report)})
