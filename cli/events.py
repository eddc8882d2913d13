"""`hundi events`: the words of the record and the kinds of alerts as a page, written from their enums.

docs/events.md is this output; a test holds it current.
"""

from collections.abc import Iterable

from domain.events import ALERT_KINDS, ORDER_EVENTS, RECORD_EVENTS, Meaning
from domain.orders import KEEPS_STATUS, TRANSITIONS, OrderEvent, OrderStatus

_HEAD = """\
# Events

Every act and every step of an order is one row of `audit_log`, and its `event` is one of the words below. The
words are stable. The frames that carry them to clients are in [asyncapi.yaml](asyncapi.yaml).
"""
_ORDERS = """
## Order events

The `history` of an order (`GET /api/v1/orders/{order_id}`) and the `order_update` frames of the stream.
*Status*: one of these is the order's status after the event; an event without one leaves the status as it is.

| event | cause | when | status |
|---|---|---|---|
"""
_RECORD = """
## Record events

Acts of clients, of the risk desk and of the platform. They are on record only and have no number on a stream.

| event | cause | when |
|---|---|---|
"""
_ALERTS = """
## Alert kinds

The `kind` of a `risk_alert` frame, which only sessions of the risk desk receive, and of a RISK_ALERT in the
record.

| kind | cause | when |
|---|---|---|
"""


def main() -> None:
    """Print the page."""
    print(page(), end="")


def page() -> str:
    return "".join(
        (
            _HEAD,
            _ORDERS,
            *(_order_row(event) for event in OrderEvent),
            _RECORD,
            *_rows(RECORD_EVENTS.items()),
            _ALERTS,
            *_rows(ALERT_KINDS.items()),
        )
    )


def _order_row(event: OrderEvent) -> str:
    meaning = ORDER_EVENTS[event]
    return f"| `{event}` | {meaning.cause} | {meaning.sentence} | {', '.join(_statuses(event))} |\n"


def _statuses(event: OrderEvent) -> list[OrderStatus]:
    if event in KEEPS_STATUS:
        return []
    if event is OrderEvent.ACCEPTED:
        return [OrderStatus.PENDING_VALIDATION]
    reached = {after for (_, its), after in TRANSITIONS.items() if its is event}
    return [status for status in OrderStatus if status in reached]


def _rows(meanings: Iterable[tuple[str, Meaning]]) -> list[str]:
    return [f"| `{word}` | {meaning.cause} | {meaning.sentence} |\n" for word, meaning in meanings]


if __name__ == "__main__":
    main()
