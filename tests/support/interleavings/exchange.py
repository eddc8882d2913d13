"""The exchange as a value: what it has of each order, what it may answer next, and the report of each answer.

Nothing is lost on the line and requests on one order are answered in their order, so the moment of an answer
is that of its journaling. It holds no state of its own: every answer gives the report and the order as it
then stands, and the explorer keeps both.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from domain.orders import Side
from domain.reports import CancelRejected, ExecType, ExecutionReport, OrdStatus
from tests.support.builders import a_report
from tests.support.interleavings.scenario import Step


class Request(NamedTuple):
    """NEW, REPLACE or CANCEL as it was sent."""

    kind: str
    cl_ord_id: str
    quantity: int
    price: int


@dataclass(frozen=True)
class AtExchange:
    """One order; `unanswered` requests in the order they were sent."""

    side: Side
    quantity: int = 0
    price: int = 0
    filled: int = 0
    value: int = 0
    """Of what is filled."""
    alive: bool = False
    unanswered: tuple[Request, ...] = ()
    surprised: bool = False
    """It has traded more than there was."""
    reports: int = 0

    @property
    def left(self) -> int:
        return self.quantity - self.filled if self.alive else 0


Answer = tuple[ExecutionReport | CancelRejected, AtExchange]


def possible(name: str, order: AtExchange) -> Iterator[Step]:
    """What the exchange may do with the order now."""
    for quantity in sorted({1, order.left}):
        if 0 < quantity <= order.left:
            yield Step("fill", name, quantity)
    if order.price:
        yield Step("overfill", name)
    if not order.unanswered:
        return
    asked = order.unanswered[0]
    if asked.kind == "NEW":
        yield Step("acknowledge", name)
        yield Step("reject", name)
    elif asked.kind == "CANCEL" and order.alive:
        yield Step("end", name)
        yield Step("refuse", name)
    elif asked.kind == "REPLACE" and order.alive and asked.quantity > order.filled:
        yield Step("replace", name)
        yield Step("refuse", name)
    else:
        yield Step("refuse", name)


def must_refuse(order: AtExchange) -> bool:
    """Whether a refusal is all that the first unanswered request can get."""
    asked = order.unanswered[0]
    return not order.alive or (asked.kind == "REPLACE" and asked.quantity <= order.filled)


def answer(order_id: int, order: AtExchange, step: Step) -> Answer:
    """The report of a possible step, and the order after it."""
    after = replace(order, reports=order.reports + 1)
    if step.verb in ("fill", "overfill"):
        return _trade(order_id, order, order.left + 1 if step.verb == "overfill" else step.quantity)
    asked, after = order.unanswered[0], replace(after, unanswered=order.unanswered[1:])
    if step.verb == "refuse":
        status = OrdStatus.NEW if order.alive else OrdStatus.FILLED
        replacing = asked.kind == "REPLACE"
        return CancelRejected(asked.cl_ord_id, str(order_id), "X", status, replacing, 0, None), after
    if step.verb in ("acknowledge", "replace"):
        after = replace(after, quantity=asked.quantity, price=asked.price, alive=True)
    else:
        after = replace(after, alive=False)
    exec_type, status = _ANSWERS[step.verb]
    return _report(order_id, after, exec_type, status, asked.cl_ord_id), after


def _trade(order_id: int, order: AtExchange, quantity: int) -> Answer:
    after = replace(
        order,
        filled=order.filled + quantity,
        value=order.value + quantity * order.price,
        alive=quantity < order.left,
        surprised=order.surprised or quantity > order.left,
        reports=order.reports + 1,
    )
    status = OrdStatus.PARTIALLY_FILLED if after.alive else OrdStatus.FILLED
    return _report(order_id, after, ExecType.TRADE, status, str(order_id), last=quantity), after


_ANSWERS = {
    "acknowledge": (ExecType.NEW, OrdStatus.NEW),
    "replace": (ExecType.REPLACED, OrdStatus.NEW),
    "reject": (ExecType.REJECTED, OrdStatus.REJECTED),
    "end": (ExecType.CANCELLED, OrdStatus.CANCELLED),
}


def _report(
    order_id: int, order: AtExchange, exec_type: ExecType, status: OrdStatus, cl_ord_id: str, last: int = 0
) -> ExecutionReport:
    return a_report(
        order_id,
        exec_id=f"{order_id}/{order.reports}",
        exec_type=exec_type,
        ord_status=status,
        cl_ord_id=cl_ord_id,
        exchange_order_id=f"X{order_id}",
        side=order.side,
        quantity=order.quantity,
        cumulative_quantity=order.filled,
        leaves_quantity=order.left,
        last_quantity=last,
        last_price=order.price if last else 0,
        price=order.price or None,
        reject_reason=0 if exec_type is ExecType.REJECTED else None,
    )
