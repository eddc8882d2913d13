"""Why an order is refused: one enum by precedence, three total maps (sentence, HTTP, FIX).

A refusal is a value, never an exception: a code, the field at fault, the limit it broke and the nearest
legal value, so that a client can mend its order from the answer alone. Codes are stable; they are never
collapsed. Anything unknown is refused with its own code: fail closed.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus


class RejectCode(StrEnum):
    """In order of precedence: the first that applies is an order's `reject_code`."""

    # who may ask at all
    TRADING_STATE_UNKNOWN = "TRADING_STATE_UNKNOWN"
    TRADING_HALTED = "TRADING_HALTED"
    SEGMENT_HALTED = "SEGMENT_HALTED"
    INSTRUMENT_HALTED = "INSTRUMENT_HALTED"
    USER_FROZEN = "USER_FROZEN"
    REDUCE_ONLY = "REDUCE_ONLY"
    ACCOUNT_UNKNOWN = "ACCOUNT_UNKNOWN"
    # what is asked for
    INSTRUMENT_UNKNOWN = "INSTRUMENT_UNKNOWN"
    INSTRUMENT_NOT_TRADABLE = "INSTRUMENT_NOT_TRADABLE"
    INSTRUMENT_EXPIRED = "INSTRUMENT_EXPIRED"
    BANNED_FOR_DERIVATIVES = "BANNED_FOR_DERIVATIVES"
    ORDER_TYPE_NOT_SUPPORTED = "ORDER_TYPE_NOT_SUPPORTED"
    VALIDITY_NOT_SUPPORTED = "VALIDITY_NOT_SUPPORTED"
    PRODUCT_NOT_ALLOWED = "PRODUCT_NOT_ALLOWED"
    PRICE_REQUIRED = "PRICE_REQUIRED"
    PRICE_NOT_ALLOWED = "PRICE_NOT_ALLOWED"
    TRIGGER_PRICE_REQUIRED = "TRIGGER_PRICE_REQUIRED"
    TRIGGER_PRICE_NOT_ALLOWED = "TRIGGER_PRICE_NOT_ALLOWED"
    QUANTITY_NOT_POSITIVE = "QUANTITY_NOT_POSITIVE"
    QUANTITY_NOT_LOT_MULTIPLE = "QUANTITY_NOT_LOT_MULTIPLE"
    QUANTITY_ABOVE_FREEZE = "QUANTITY_ABOVE_FREEZE"
    TOO_MANY_SLICES = "TOO_MANY_SLICES"
    PRICE_NOT_POSITIVE = "PRICE_NOT_POSITIVE"
    PRICE_NOT_TICK_MULTIPLE = "PRICE_NOT_TICK_MULTIPLE"
    PRICE_OUT_OF_BAND = "PRICE_OUT_OF_BAND"
    PRICE_BEYOND_PROTECTION = "PRICE_BEYOND_PROTECTION"
    TRIGGER_PRICE_NOT_TICK_MULTIPLE = "TRIGGER_PRICE_NOT_TICK_MULTIPLE"
    TRIGGER_PRICE_OUT_OF_BAND = "TRIGGER_PRICE_OUT_OF_BAND"
    TRIGGER_PRICE_WRONG_SIDE = "TRIGGER_PRICE_WRONG_SIDE"
    MARKET_PROTECTION_OUT_OF_RANGE = "MARKET_PROTECTION_OUT_OF_RANGE"
    # when
    RULES_UNKNOWN = "RULES_UNKNOWN"
    MARKET_PHASE_UNKNOWN = "MARKET_PHASE_UNKNOWN"
    MARKET_CLOSED = "MARKET_CLOSED"
    INTRADAY_CLOSED = "INTRADAY_CLOSED"
    PRICE_UNKNOWN = "PRICE_UNKNOWN"
    # with what
    OPEN_ORDERS_LIMIT_REACHED = "OPEN_ORDERS_LIMIT_REACHED"
    ORDER_VALUE_LIMIT_EXCEEDED = "ORDER_VALUE_LIMIT_EXCEEDED"
    POSITION_LIMIT_EXCEEDED = "POSITION_LIMIT_EXCEEDED"
    EXPOSURE_LIMIT_EXCEEDED = "EXPOSURE_LIMIT_EXCEEDED"
    SELF_TRADE_PREVENTED = "SELF_TRADE_PREVENTED"
    HOLDINGS_INSUFFICIENT = "HOLDINGS_INSUFFICIENT"
    SPAN_FILE_MISSING = "SPAN_FILE_MISSING"
    SPAN_FILE_STALE = "SPAN_FILE_STALE"
    CONTRACT_NOT_MARGINED = "CONTRACT_NOT_MARGINED"
    MARGIN_UNKNOWN = "MARGIN_UNKNOWN"
    MARGIN_INSUFFICIENT = "MARGIN_INSUFFICIENT"
    SLICE_REFUSED = "SLICE_REFUSED"
    # what the exchange said
    EXCHANGE_UNKNOWN_SYMBOL = "EXCHANGE_UNKNOWN_SYMBOL"
    EXCHANGE_CLOSED = "EXCHANGE_CLOSED"
    EXCHANGE_LIMIT_EXCEEDED = "EXCHANGE_LIMIT_EXCEEDED"
    EXCHANGE_TOO_LATE = "EXCHANGE_TOO_LATE"
    EXCHANGE_UNKNOWN_ORDER = "EXCHANGE_UNKNOWN_ORDER"
    EXCHANGE_DUPLICATE_ORDER = "EXCHANGE_DUPLICATE_ORDER"
    EXCHANGE_INCORRECT_QUANTITY = "EXCHANGE_INCORRECT_QUANTITY"
    EXCHANGE_NO_LIQUIDITY = "EXCHANGE_NO_LIQUIDITY"
    EXCHANGE_CANCELLED = "EXCHANGE_CANCELLED"
    EXCHANGE_EXPIRED = "EXCHANGE_EXPIRED"
    EXCHANGE_OTHER = "EXCHANGE_OTHER"
    # what can be asked of an order
    ORDER_ALREADY_FINAL = "ORDER_ALREADY_FINAL"
    CANCEL_ALREADY_PENDING = "CANCEL_ALREADY_PENDING"
    CHANGE_ALREADY_PENDING = "CHANGE_ALREADY_PENDING"
    CHANGE_LIMIT_REACHED = "CHANGE_LIMIT_REACHED"
    CHANGE_REQUESTS_EXHAUSTED = "CHANGE_REQUESTS_EXHAUSTED"
    NOTHING_TO_CHANGE = "NOTHING_TO_CHANGE"
    QUANTITY_BELOW_FILLED = "QUANTITY_BELOW_FILLED"
    ORDER_IS_SLICED = "ORDER_IS_SLICED"


_C = RejectCode

SENTENCES: dict[RejectCode, str] = {
    _C.TRADING_STATE_UNKNOWN: "Whether trading is halted cannot be known at the moment.",
    _C.TRADING_HALTED: "Trading is halted.",
    _C.SEGMENT_HALTED: "Trading in this segment is halted by the risk desk.",
    _C.INSTRUMENT_HALTED: "Trading in this instrument is halted by the risk desk.",
    _C.USER_FROZEN: "This account is frozen by the risk desk.",
    _C.REDUCE_ONLY: "Only orders that reduce a position or sell held shares are taken.",
    _C.ACCOUNT_UNKNOWN: "This account has no margin ledger.",
    _C.INSTRUMENT_UNKNOWN: "No such instrument in today's master.",
    _C.INSTRUMENT_NOT_TRADABLE: "This instrument is quoted but not traded.",
    _C.INSTRUMENT_EXPIRED: "This contract has expired.",
    _C.BANNED_FOR_DERIVATIVES: "The underlying is on the exchange's ban list: positions may only be reduced.",
    _C.ORDER_TYPE_NOT_SUPPORTED: "This order type is not accepted for this instrument.",
    _C.VALIDITY_NOT_SUPPORTED: "This validity is not accepted for this order.",
    _C.PRODUCT_NOT_ALLOWED: "This product is not allowed for this instrument.",
    _C.PRICE_REQUIRED: "This order type needs a price.",
    _C.PRICE_NOT_ALLOWED: "A price may not be given for this order type.",
    _C.TRIGGER_PRICE_REQUIRED: "This order type needs a trigger price.",
    _C.TRIGGER_PRICE_NOT_ALLOWED: "A trigger price may not be given for this order type.",
    _C.QUANTITY_NOT_POSITIVE: "The quantity must be a positive whole number.",
    _C.QUANTITY_NOT_LOT_MULTIPLE: "The quantity is not a multiple of the lot size.",
    _C.QUANTITY_ABOVE_FREEZE: "The quantity is above the exchange's freeze quantity.",
    _C.TOO_MANY_SLICES: "The quantity would need more slices than an order may have.",
    _C.PRICE_NOT_POSITIVE: "The price must be above zero.",
    _C.PRICE_NOT_TICK_MULTIPLE: "The price is not a multiple of the tick size.",
    _C.PRICE_OUT_OF_BAND: "The price is outside the price band as it stands.",
    _C.PRICE_BEYOND_PROTECTION: "The price is too far from the last trades: the exchange would refuse it.",
    _C.TRIGGER_PRICE_NOT_TICK_MULTIPLE: "The trigger price is not a multiple of the tick size.",
    _C.TRIGGER_PRICE_OUT_OF_BAND: "The trigger price is outside the price band as it stands.",
    _C.TRIGGER_PRICE_WRONG_SIDE: "The trigger price lies on the wrong side of the price.",
    _C.RULES_UNKNOWN: "The rules of this day are not known, so nothing can be judged by them.",
    _C.MARKET_PHASE_UNKNOWN: "The exchange has not told its market phase.",
    _C.MARKET_CLOSED: "The market does not take this order in its present phase.",
    _C.INTRADAY_CLOSED: "New intraday orders are taken only until the hour of the day's square-off.",
    _C.PRICE_UNKNOWN: "The last price is not known, so a market order cannot be protected.",
    _C.MARKET_PROTECTION_OUT_OF_RANGE: "The market protection must be above 0 and not above the limit.",
    _C.HOLDINGS_INSUFFICIENT: "Not enough shares are held, free of other sell orders.",
    _C.OPEN_ORDERS_LIMIT_REACHED: "This account has as many open and pending orders as it may have.",
    _C.SELF_TRADE_PREVENTED: "The order could trade with another order of this client.",
    _C.ORDER_VALUE_LIMIT_EXCEEDED: "The order's value is above this account's limit.",
    _C.POSITION_LIMIT_EXCEEDED: "The position would pass this account's limit for an instrument.",
    _C.EXPOSURE_LIMIT_EXCEEDED: "The account's exposure would pass its limit.",
    _C.SPAN_FILE_MISSING: "The exchange's risk file has not arrived, so no derivative can be margined.",
    _C.SPAN_FILE_STALE: "The exchange's risk file is of an earlier day, so no derivative can be margined.",
    _C.CONTRACT_NOT_MARGINED: "The exchange's risk file does not list a contract of this portfolio.",
    _C.MARGIN_UNKNOWN: "The margin of this order cannot be computed.",
    _C.MARGIN_INSUFFICIENT: "The available margin does not cover this order.",
    _C.SLICE_REFUSED: "Another slice of the order does not stand, and all or none are sent.",
    _C.EXCHANGE_UNKNOWN_SYMBOL: "The exchange does not know this symbol.",
    _C.EXCHANGE_CLOSED: "The exchange is closed for this order.",
    _C.EXCHANGE_LIMIT_EXCEEDED: "The exchange's limit is exceeded.",
    _C.EXCHANGE_TOO_LATE: "Too late: the exchange has already traded or closed the order.",
    _C.EXCHANGE_UNKNOWN_ORDER: "The exchange does not know this order.",
    _C.EXCHANGE_DUPLICATE_ORDER: "The exchange has this order already.",
    _C.EXCHANGE_INCORRECT_QUANTITY: "The exchange refused the quantity.",
    _C.EXCHANGE_NO_LIQUIDITY: "Nothing was on the other side of the book.",
    _C.EXCHANGE_CANCELLED: "The exchange has cancelled the order; its own words are attached.",
    _C.EXCHANGE_EXPIRED: "The market closed before the order was filled.",
    _C.EXCHANGE_OTHER: "The exchange refused the order; its own words are attached.",
    _C.ORDER_ALREADY_FINAL: "The order is finished; nothing can be changed any more.",
    _C.CANCEL_ALREADY_PENDING: "A cancel of this order is already on its way to the exchange.",
    _C.CHANGE_ALREADY_PENDING: "A change of this order is already on its way to the exchange.",
    _C.CHANGE_LIMIT_REACHED: "This order has been changed as often as an order may be.",
    _C.CHANGE_REQUESTS_EXHAUSTED: "Changes of this order were asked for too often; it can be cancelled.",
    _C.NOTHING_TO_CHANGE: "The order already stands as asked.",
    _C.QUANTITY_BELOW_FILLED: "The new quantity must be above what has been filled.",
    _C.ORDER_IS_SLICED: "The order is sliced: change its slices, one by one.",
}

HTTP_STATUS: dict[RejectCode, HTTPStatus] = {
    **dict.fromkeys(RejectCode, HTTPStatus.UNPROCESSABLE_ENTITY),
    _C.TRADING_STATE_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.TRADING_HALTED: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.SEGMENT_HALTED: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.INSTRUMENT_HALTED: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.RULES_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.MARKET_PHASE_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.PRICE_UNKNOWN: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.SPAN_FILE_MISSING: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.SPAN_FILE_STALE: HTTPStatus.SERVICE_UNAVAILABLE,
    _C.USER_FROZEN: HTTPStatus.FORBIDDEN,
    _C.REDUCE_ONLY: HTTPStatus.FORBIDDEN,
    _C.ORDER_ALREADY_FINAL: HTTPStatus.CONFLICT,
    _C.CANCEL_ALREADY_PENDING: HTTPStatus.CONFLICT,
    _C.CHANGE_ALREADY_PENDING: HTTPStatus.CONFLICT,
    _C.CHANGE_LIMIT_REACHED: HTTPStatus.CONFLICT,
    _C.CHANGE_REQUESTS_EXHAUSTED: HTTPStatus.CONFLICT,
    _C.ORDER_IS_SLICED: HTTPStatus.CONFLICT,
    _C.EXCHANGE_TOO_LATE: HTTPStatus.CONFLICT,
}

RETRYABLE = frozenset(
    {
        _C.TRADING_STATE_UNKNOWN,
        _C.TRADING_HALTED,
        _C.SEGMENT_HALTED,
        _C.INSTRUMENT_HALTED,
        _C.RULES_UNKNOWN,
        _C.MARKET_PHASE_UNKNOWN,
        _C.MARKET_CLOSED,
        _C.INTRADAY_CLOSED,
        _C.PRICE_UNKNOWN,
        _C.OPEN_ORDERS_LIMIT_REACHED,
        _C.SELF_TRADE_PREVENTED,
        _C.SPAN_FILE_MISSING,
        _C.SPAN_FILE_STALE,
        _C.CHANGE_ALREADY_PENDING,
        _C.EXCHANGE_CLOSED,
    }
)
"""The same request may succeed later without a change."""

FIX_ORD_REJ_REASON: dict[int, RejectCode] = {
    1: _C.EXCHANGE_UNKNOWN_SYMBOL,
    2: _C.EXCHANGE_CLOSED,
    3: _C.EXCHANGE_LIMIT_EXCEEDED,
    4: _C.EXCHANGE_TOO_LATE,
    5: _C.EXCHANGE_UNKNOWN_ORDER,
    6: _C.EXCHANGE_DUPLICATE_ORDER,
    13: _C.EXCHANGE_INCORRECT_QUANTITY,
    16: _C.EXCHANGE_LIMIT_EXCEEDED,
}
"""OrdRejReason (103) -> our code; any other reason is EXCHANGE_OTHER with the exchange's Text (58)."""

FIX_CXL_REJ_REASON: dict[int, RejectCode] = {
    0: _C.EXCHANGE_TOO_LATE,
    1: _C.EXCHANGE_UNKNOWN_ORDER,
    3: _C.CANCEL_ALREADY_PENDING,
    6: _C.EXCHANGE_DUPLICATE_ORDER,
}
"""CxlRejReason (102) -> our code."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One gate's no. `limit` and `nearest` are strings as a client reads them (rupees or a quantity)."""

    code: RejectCode
    field: str | None = None
    limit: str | None = None
    nearest: str | None = None

    @property
    def sentence(self) -> str:
        """The code's sentence, with the limit where there is one."""
        limit = f" Limit: {self.limit}." if self.limit is not None else ""
        nearest = f" Nearest: {self.nearest}." if self.nearest is not None else ""
        return f"{SENTENCES[self.code]}{limit}{nearest}"


def by_precedence(refusals: Iterable[Refusal]) -> list[Refusal]:
    """The first is the one to act on."""
    return sorted(refusals, key=lambda refusal: list(RejectCode).index(refusal.code))


def order_reject(reason: int | None) -> RejectCode:
    """The code of an exchange's order reject (FIX 103)."""
    return FIX_ORD_REJ_REASON.get(reason if reason is not None else -1, RejectCode.EXCHANGE_OTHER)


def cancel_reject(reason: int | None) -> RejectCode:
    """The code of an exchange's cancel reject (FIX 102)."""
    return FIX_CXL_REJ_REASON.get(reason if reason is not None else -1, RejectCode.EXCHANGE_OTHER)
