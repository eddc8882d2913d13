"""The words of the record: order events, acts of people and processes, kinds of alerts, with their meanings.

Every row of `audit_log` has one: with an order an OrderEvent (domain/orders.py), which the client also reads
in the order's history and on the stream; without an order a RecordEvent. The words are stored and sent, so
they are stable. docs/events.md is written from here by `hundi events`; a test holds it current.
"""

from dataclasses import dataclass
from enum import StrEnum

from domain.orders import OrderEvent


class RecordEvent(StrEnum):
    """An act on record that is no step of an order: it has no number on a client's stream."""

    # sessions and requests
    SIGNED_IN = "SIGNED_IN"
    REQUEST_REFUSED = "REQUEST_REFUSED"
    REQUESTS_REFUSED = "REQUESTS_REFUSED"
    CHANGE_REQUESTED = "CHANGE_REQUESTED"
    """No order event, for a flood of requests would make the client's stream wait in line."""
    # the risk desk
    FROZEN = "FROZEN"
    UNFROZEN = "UNFROZEN"
    RELEASE_ASKED = "RELEASE_ASKED"
    RELEASE_VOIDED = "RELEASE_VOIDED"
    RELEASE_EXPIRED = "RELEASE_EXPIRED"
    LIMITS_SET = "LIMITS_SET"
    BANS_SET = "BANS_SET"
    RISK_ALERT = "RISK_ALERT"


class AlertKind(StrEnum):
    """What an alert for the risk desk is about."""

    # the books
    MARGIN_DRIFT = "MARGIN_DRIFT"
    BOOKS_BROKEN = "BOOKS_BROKEN"
    HOLD_WRONG = "HOLD_WRONG"
    REPORT_UNBOOKED = "REPORT_UNBOOKED"
    REPORT_BROKEN = "REPORT_BROKEN"
    TRADES_DIFFER = "TRADES_DIFFER"
    # trades that no gate has seen
    MARGIN_SHORTFALL = "MARGIN_SHORTFALL"
    UNEXPLAINED_FILL = "UNEXPLAINED_FILL"
    UNKNOWN_ORDER_TRADED = "UNKNOWN_ORDER_TRADED"
    TRADE_BELIEVED = "TRADE_BELIEVED"
    # limits and halts
    EXPOSURE_LIMIT_PASSED = "EXPOSURE_LIMIT_PASSED"
    SQUARE_OFF_MISSED = "SQUARE_OFF_MISSED"
    MARKET_HALTED = "MARKET_HALTED"
    MARKET_REOPENED = "MARKET_REOPENED"
    RELEASE_ASKED = "RELEASE_ASKED"
    RELEASED = "RELEASED"
    RELEASE_VOIDED = "RELEASE_VOIDED"
    RELEASE_EXPIRED = "RELEASE_EXPIRED"


@dataclass(frozen=True, slots=True)
class Meaning:
    cause: str
    """Who or what causes it."""
    sentence: str
    """When it happens, in one sentence."""


_EXCHANGE, _GATEWAY, _WORKER = "the exchange", "the exchange gateway", "the order worker"
_O = OrderEvent

ORDER_EVENTS: dict[OrderEvent, Meaning] = {
    _O.ACCEPTED: Meaning("the client, or the broker for the client", "The order is durable: the 202."),
    _O.REFUSED: Meaning(_WORKER, "A check before the exchange refuses the order."),
    _O.SUBMITTED: Meaning(_WORKER, "The order passed every check and is in the outbox of its exchange."),
    _O.SENT: Meaning(
        _GATEWAY,
        "The order leaves on a FIX session; `repeated` if it may have left before, `asked` if the exchange"
        " was only asked whether it has it.",
    ),
    _O.ACKNOWLEDGED: Meaning(_EXCHANGE, "The order is in the exchange's book (ExecType 0)."),
    _O.STOP_ACKNOWLEDGED: Meaning(
        _EXCHANGE, "The exchange has the stop order, which waits for its trigger (ExecType 0)."
    ),
    _O.TRIGGERED: Meaning(_EXCHANGE, "The trigger price traded: the stop order is in the book (ExecType L)."),
    _O.PARTIAL_FILL: Meaning(_EXCHANGE, "A part of the order traded, a part is still open (ExecType F)."),
    _O.FILL: Meaning(_EXCHANGE, "The last part of the order traded (ExecType F)."),
    _O.REPLACED: Meaning(_EXCHANGE, "The exchange accepted a change (ExecType 5)."),
    _O.CANCELLED: Meaning(
        _EXCHANGE,
        "The exchange cancelled the order, on request or, with `reject_code`, by itself (ExecType 4).",
    ),
    _O.EXCHANGE_REJECTED: Meaning(_EXCHANGE, "The exchange refused the order (ExecType 8)."),
    _O.EXPIRED: Meaning(_EXCHANGE, "The market closed before the order was filled (ExecType C or 3)."),
    _O.WITHDRAWN: Meaning(
        "the client, the risk desk, the broker, or the gateway for a freeze",
        "The order is cancelled before it left for the exchange.",
    ),
    _O.UNEXPECTED_FILL: Meaning(
        _EXCHANGE, "The order traded after its end, or without having been sent; it counts (ExecType F)."
    ),
    _O.TRADE_CANCELLED: Meaning(
        _EXCHANGE, "One of several trades is cancelled; its quantity is not open again (ExecType H)."
    ),
    _O.LAST_TRADE_CANCELLED: Meaning(_EXCHANGE, "The only trade that was left is cancelled (ExecType H)."),
    _O.TRADE_CORRECTED: Meaning(_EXCHANGE, "A trade gets another price (ExecType G)."),
    _O.TRADE_REDUCED: Meaning(
        _EXCHANGE, "A trade gets a smaller quantity, and perhaps another price (ExecType G)."
    ),
    _O.SETTLED: Meaning("settlement", "The trades of the order are settled, one trading day later."),
    _O.CHANGED: Meaning(
        "the client", "The order is changed before it left: the exchange only sees the new terms."
    ),
    _O.CHANGE_WITHDRAWN: Meaning(
        "the client, the risk desk, or the gateway for a freeze",
        "A change is dropped before it left: a cancel came after it, or a freeze forbids it.",
    ),
    _O.REPLACE_SENT: Meaning(_GATEWAY, "A change leaves for the exchange; `repeated`, `asked` as for SENT."),
    _O.CANCEL_REQUESTED: Meaning(
        "the client, the risk desk, or the broker", "A cancel is in the outbox of the exchange."
    ),
    _O.CANCEL_SENT: Meaning(_GATEWAY, "A cancel leaves for the exchange; `repeated`, `asked` as for SENT."),
    _O.CANCEL_REJECTED: Meaning(
        _EXCHANGE, "The exchange refused a cancel or a change; the order is as it was (35=9)."
    ),
    _O.REPRICED: Meaning(
        _EXCHANGE, "The rest of a market order is now a limit order at the exchange's price (ExecType D)."
    ),
}

_DESK = "the risk desk"
_R = RecordEvent

RECORD_EVENTS: dict[RecordEvent, Meaning] = {
    _R.SIGNED_IN: Meaning("a client or a person of staff", "A session is given."),
    _R.REQUEST_REFUSED: Meaning(
        "a client, a person of staff, or a stranger",
        "The API refuses an act; with its route, status and code.",
    ),
    _R.REQUESTS_REFUSED: Meaning(
        "a client, a person of staff, or strangers",
        "One caller had more refusals in a minute than are recorded one by one; counted by code.",
    ),
    _R.CHANGE_REQUESTED: Meaning(
        "the client", "A change of an order is requested; recorded before the order's workflow decides."
    ),
    _R.FROZEN: Meaning(
        f"{_DESK}, the exposure watch, or the circuit breaker",
        "Orders of a client, an instrument, a segment or of all are stopped.",
    ),
    _R.UNFROZEN: Meaning(
        f"{_DESK}, or the circuit breaker",
        "Such a stop is lifted; with `asked_by` where two people are needed.",
    ),
    _R.RELEASE_ASKED: Meaning(_DESK, "A person requests a release that a second person must confirm."),
    _R.RELEASE_VOIDED: Meaning(
        f"{_DESK}, the exposure watch, or the circuit breaker",
        "A new stop of the same target cancels the requested release.",
    ),
    _R.RELEASE_EXPIRED: Meaning("the operations worker", "Nobody confirmed the requested release in time."),
    _R.LIMITS_SET: Meaning(_DESK, "An account gets risk limits of its own."),
    _R.BANS_SET: Meaning("`hundi ban-list`", "The day's list of banned underlyings is set."),
    _R.RISK_ALERT: Meaning(
        "a process of the platform", "The risk desk is alerted; `kind` is one of the alert kinds."
    ),
}

_RECONCILIATION = "the reconciliation"
_A = AlertKind

ALERT_KINDS: dict[AlertKind, Meaning] = {
    _A.MARGIN_DRIFT: Meaning(
        _RECONCILIATION, "An account's margin view differed from its ledger; it is rebuilt."
    ),
    _A.BOOKS_BROKEN: Meaning(
        _RECONCILIATION, "The ledger contradicts itself, or a portfolio's margin is not what it should be."
    ),
    _A.HOLD_WRONG: Meaning(
        _RECONCILIATION, "The margin held for an order does not match what the exchange may still fill."
    ),
    _A.REPORT_UNBOOKED: Meaning(
        f"{_RECONCILIATION}, or the report watch",
        "A report is not booked in time, or counts as booked without a trade.",
    ),
    _A.REPORT_BROKEN: Meaning("the report watch", "A report does not fit its order and is not applied."),
    _A.TRADES_DIFFER: Meaning(_RECONCILIATION, "The day's trades differ from the exchange's trade file."),
    _A.MARGIN_SHORTFALL: Meaning("the booking", "A booking leaves an account with less cash than it needs."),
    _A.UNEXPLAINED_FILL: Meaning(
        "the booking", "An order traded more than it had open; the trade is booked."
    ),
    _A.UNKNOWN_ORDER_TRADED: Meaning(
        _GATEWAY, "A trade belongs to no order of ours; it is booked to the error account."
    ),
    _A.TRADE_BELIEVED: Meaning(
        "the report watch", "A trade that did not fit its order was never explained; it is booked."
    ),
    _A.EXPOSURE_LIMIT_PASSED: Meaning(
        "the exposure watch", "An account passed its exposure limit and may only reduce."
    ),
    _A.SQUARE_OFF_MISSED: Meaning(
        "the square-off watch", "Intraday positions are open after their square-off time."
    ),
    _A.MARKET_HALTED: Meaning("the circuit breaker", "An index moved so far that the market is halted."),
    _A.MARKET_REOPENED: Meaning("the circuit breaker", "The halt of the market is over."),
    _A.RELEASE_ASKED: Meaning(_DESK, "A person requests a release that a second person must confirm."),
    _A.RELEASED: Meaning(_DESK, "A second person confirmed the release: the stop is lifted."),
    _A.RELEASE_VOIDED: Meaning(
        f"{_DESK}, the exposure watch, or the circuit breaker",
        "A new stop of the same target cancels the requested release.",
    ),
    _A.RELEASE_EXPIRED: Meaning(
        "the operations worker", "Nobody confirmed the requested release in time: the stop stays."
    ),
}
