"""The pure FIX codec: domain values to application fields and back, for FIX 4.2 and FIX 5.0 SP2.

Used by the gateway and by the exchange simulator; knows no session, header or trailer. Prices go from the
field's own digits to paise, never through a float; times keep what the wire carries (milliseconds in
FIX 4.2, nanoseconds in 5.0 SP2). A field that cannot be read is a CodecError that names its tag.
FIX 4.2 tells fills by ExecType 1 and 2 and busts, corrections and status answers by ExecTransType (20);
it has no "triggered", so a trigger is a restatement (ExecType D, ExecRestatementReason 4); a market order
that an auction reprices is one in both (reason 3).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.orders import OrderType
from domain.reports import (
    BandSet,
    CancelRejected,
    ExecType,
    ExecutionReport,
    MarketPhase,
    Report,
    SessionPhase,
)
from exchange import fields as f
from exchange.fields import CodecError, FieldReader

__all__ = ["CodecError", "FixBody", "FixVersion", "decode", "encode"]

Fields = Iterator[tuple[int, str]]


class FixVersion(StrEnum):
    FIX42 = "FIX.4.2"
    FIX50SP2 = "FIX.5.0SP2"


@dataclass(frozen=True, slots=True)
class FixBody:
    """One application message: its MsgType (35) and its fields in order, without header and trailer."""

    msg_type: str
    fields: tuple[tuple[int, str], ...]


_TRADE_WORDS_42 = {"1": ExecType.TRADE, "2": ExecType.TRADE}
_TRIGGERED_42, _REPRICED = "4", "3"
"""ExecRestatementReason (378): the broker's own option, here its trigger; repricing of the order."""
_TRANSACTION_42 = {
    ExecType.TRADE_CANCEL: "1",
    ExecType.TRADE_CORRECT: "2",
    ExecType.ORDER_STATUS: "3",
}
_BY_TRANSACTION_42 = {word: exec_type for exec_type, word in _TRANSACTION_42.items()}
_RESTING = frozenset({ExecType.NEW, ExecType.REPLACED, ExecType.ORDER_STATUS})
_STOP_WORDS = frozenset({f.ORDER_TYPE[OrderType.SL], f.ORDER_TYPE[OrderType.SL_M]})
_ORD_REJ_MAX_42, _CXL_REJ_MAX_42 = 8, 3
"""FIX 4.2 knows no reasons above these. Its OrdRejReason has 0 for any other; CxlRejReason has no such
word and is left out; the Text (58) says it in both."""

_SESSION_STATUS: dict[MarketPhase, tuple[str, str]] = {
    # phase -> TradSesStatus (340), TradingSessionSubID (625)
    MarketPhase.CLOSED: ("3", "7"),
    MarketPhase.PRE_OPEN_ENTRY: ("4", "1"),
    MarketPhase.PRE_OPEN_LIMIT: ("4", "1"),
    MarketPhase.PRE_OPEN_MATCHING: ("4", "2"),
    MarketPhase.CONTINUOUS: ("2", "3"),
    MarketPhase.CLOSING_REFERENCE: ("5", "7"),
    MarketPhase.CLOSING_AUCTION: ("5", "4"),
    MarketPhase.CLOSING_AUCTION_LIMIT: ("5", "4"),
    MarketPhase.CLOSING_MATCHING: ("5", "4"),
    MarketPhase.POST_CLOSE: ("5", "5"),
    MarketPhase.HALTED: ("1", "7"),
}


def encode(message: Instruction | Report, version: FixVersion) -> FixBody:
    """The message's application fields in the given version."""
    match message:
        case NewOrder():
            return FixBody("D", tuple(_new_order(message, version)))
        case CancelOrder():
            return FixBody("F", tuple(_cancel(message, version)))
        case ReplaceOrder():
            return FixBody("G", tuple(_replace(message, version)))
        case StatusRequest():
            instrument = ((55, message.symbol), (54, f.SIDE[message.side]))
            return FixBody("H", ((11, message.cl_ord_id), *instrument))
        case ExecutionReport():
            return FixBody("8", tuple(_execution(message, version)))
        case CancelRejected():
            return FixBody("9", tuple(_cancel_rejected(message, version)))
        case SessionPhase():
            return FixBody("h", tuple(_session_phase(message, version)))
        case BandSet():
            return FixBody("f", tuple(_band_set(message, version)))


def decode(body: FixBody, version: FixVersion) -> Instruction | Report:
    """The domain value of a message.

    Raises CodecError with the tag at fault (None: the MsgType itself is not one of ours).
    """
    reader = FieldReader(dict(body.fields))
    match body.msg_type:
        case "D":
            return _read_new_order(reader)
        case "F":
            return _read_cancel(reader)
        case "G":
            return _read_replace(reader)
        case "H":
            return StatusRequest(reader.text(11), reader.text(55), reader.side())
        case "8":
            return _read_execution(reader, version)
        case "9":
            return _read_cancel_rejected(reader)
        case "h":
            return _read_session_phase(reader, version)
        case "f":
            return _read_band_set(reader)
    raise CodecError(None, f"MsgType {body.msg_type[:4]!r} is not spoken here")


# Requests ---------------------------------------------------------------------------------------------


def _new_order(order: NewOrder, version: FixVersion) -> Fields:
    yield 11, order.cl_ord_id
    yield 1, order.client_code
    yield 21, "1"
    yield 55, order.symbol
    yield 54, f.SIDE[order.side]
    yield from _terms(order, version)


def _cancel(cancel: CancelOrder, version: FixVersion) -> Fields:
    yield 41, cancel.orig_cl_ord_id
    yield 11, cancel.cl_ord_id
    yield 55, cancel.symbol
    yield 54, f.SIDE[cancel.side]
    yield 60, _time(cancel.transact_time_ns, version)
    yield 38, str(cancel.quantity)


def _replace(replace: ReplaceOrder, version: FixVersion) -> Fields:
    yield 41, replace.orig_cl_ord_id
    yield 11, replace.cl_ord_id
    yield 21, "1"
    yield 55, replace.symbol
    yield 54, f.SIDE[replace.side]
    yield from _terms(replace, version)


def _terms(order: NewOrder | ReplaceOrder, version: FixVersion) -> Fields:
    yield 60, _time(order.transact_time_ns, version)
    yield 38, str(order.quantity)
    yield 40, f.ORDER_TYPE[order.order_type]
    yield from f.price_field(44, order.price)
    yield from f.price_field(99, order.trigger_price)
    yield 59, f.time_in_force(order.validity)


def _read_new_order(reader: FieldReader) -> NewOrder:
    return NewOrder(
        cl_ord_id=reader.text(11),
        client_code=reader.text(1),
        symbol=reader.text(55),
        side=reader.side(),
        quantity=reader.quantity(38),
        order_type=reader.order_type(),
        validity=reader.validity(),
        price=reader.optional_price(44),
        trigger_price=reader.optional_price(99),
        transact_time_ns=reader.time(60),
    )


def _read_cancel(reader: FieldReader) -> CancelOrder:
    return CancelOrder(
        cl_ord_id=reader.text(11),
        orig_cl_ord_id=reader.text(41),
        symbol=reader.text(55),
        side=reader.side(),
        quantity=reader.quantity(38),
        transact_time_ns=reader.time(60),
    )


def _read_replace(reader: FieldReader) -> ReplaceOrder:
    return ReplaceOrder(
        cl_ord_id=reader.text(11),
        orig_cl_ord_id=reader.text(41),
        symbol=reader.text(55),
        side=reader.side(),
        quantity=reader.quantity(38),
        order_type=reader.order_type(),
        validity=reader.validity(),
        price=reader.optional_price(44),
        trigger_price=reader.optional_price(99),
        transact_time_ns=reader.time(60),
    )


# Reports ----------------------------------------------------------------------------------------------


def _execution(report: ExecutionReport, version: FixVersion) -> Fields:
    yield 37, report.exchange_order_id
    yield 11, report.cl_ord_id
    yield from f.text_field(41, report.orig_cl_ord_id)
    yield 17, report.exec_id
    yield from f.text_field(19, report.reference_exec_id)
    yield from _exec_type_42(report) if version is FixVersion.FIX42 else ((150, report.exec_type.value),)
    if report.exec_type is ExecType.RESTATED:
        yield 378, _REPRICED
    yield 39, report.ord_status.value
    if report.reject_reason is not None:
        other = version is FixVersion.FIX42 and report.reject_reason > _ORD_REJ_MAX_42
        yield 103, "0" if other else str(report.reject_reason)
    yield 55, report.symbol
    yield 54, f.SIDE[report.side]
    yield 38, str(report.quantity)
    yield 40, _order_type_word(report)
    yield from f.price_field(44, report.price)
    yield from f.price_field(99, report.trigger_price)
    if report.exec_type in (ExecType.TRADE, ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL):
        yield 32, str(report.last_quantity)
        yield 31, f.price_text(report.last_price)
    yield 151, str(report.leaves_quantity)
    yield 14, str(report.cumulative_quantity)
    if version is FixVersion.FIX42:
        # AvgPx is required there; the average is derived from the fills, never read from the wire.
        yield 6, "0"
    yield 60, _time(report.transact_time_ns, version)
    yield from f.text_field(58, report.text)


def _exec_type_42(report: ExecutionReport) -> Fields:
    yield 20, _TRANSACTION_42.get(report.exec_type, "0")
    if report.exec_type is ExecType.TRADE:
        yield 150, "2" if report.leaves_quantity == 0 else "1"
    elif report.exec_type is ExecType.TRIGGERED:
        yield 150, "D"
        yield 378, _TRIGGERED_42
    elif report.exec_type in _TRANSACTION_42:
        yield 150, report.ord_status.value
    else:
        yield 150, report.exec_type.value


def _order_type_word(report: ExecutionReport) -> str:
    if report.stop:
        return f.ORDER_TYPE[OrderType.SL_M if report.price is None else OrderType.SL]
    return f.ORDER_TYPE[OrderType.MARKET if report.price is None else OrderType.LIMIT]


def _read_execution(reader: FieldReader, version: FixVersion) -> ExecutionReport:
    exec_type = _read_exec_type(reader, version)
    trade = exec_type in (ExecType.TRADE, ExecType.TRADE_CORRECT, ExecType.TRADE_CANCEL)
    return ExecutionReport(
        exec_id=reader.text(17),
        exec_type=exec_type,
        ord_status=reader.ord_status(),
        cl_ord_id=reader.text(11),
        orig_cl_ord_id=reader.optional_text(41),
        exchange_order_id=reader.text(37),
        symbol=reader.text(55),
        side=reader.side(),
        quantity=reader.quantity(38),
        cumulative_quantity=reader.quantity(14),
        leaves_quantity=reader.quantity(151),
        last_quantity=reader.quantity(32) if trade else 0,
        last_price=reader.price(31) if trade else 0,
        price=reader.optional_price(44),
        trigger_price=reader.optional_price(99),
        stop=reader.optional_text(40) in _STOP_WORDS and exec_type in _RESTING,
        reject_reason=reader.optional_integer(103),
        text=reader.optional_text(58),
        transact_time_ns=reader.time(60),
        reference_exec_id=reader.optional_text(19),
    )


def _read_exec_type(reader: FieldReader, version: FixVersion) -> ExecType:
    word = reader.text(150)
    if version is FixVersion.FIX42:
        transaction = reader.text(20)
        if transaction in _BY_TRANSACTION_42:
            return _BY_TRANSACTION_42[transaction]
        if transaction != "0":
            raise CodecError(20, f"ExecTransType {transaction[:4]!r} is unknown")
        if word in _TRADE_WORDS_42:
            return _TRADE_WORDS_42[word]
        if word == ExecType.RESTATED and reader.text(378) == _TRIGGERED_42:
            return ExecType.TRIGGERED
    return reader.word(150, ExecType)


def _cancel_rejected(reject: CancelRejected, version: FixVersion) -> Fields:
    yield 37, reject.exchange_order_id
    yield 11, reject.cl_ord_id
    yield 41, reject.orig_cl_ord_id
    yield 39, reject.ord_status.value
    yield 434, "2" if reject.response_to_replace else "1"
    known = version is not FixVersion.FIX42 or (reject.reject_reason or 0) <= _CXL_REJ_MAX_42
    if reject.reject_reason is not None and known:
        yield 102, str(reject.reject_reason)
    yield from f.text_field(58, reject.text)


def _read_cancel_rejected(reader: FieldReader) -> CancelRejected:
    response_to = reader.text(434)
    if response_to not in ("1", "2"):
        raise CodecError(434, f"CxlRejResponseTo {response_to[:4]!r} is neither 1 nor 2")
    return CancelRejected(
        cl_ord_id=reader.text(11),
        orig_cl_ord_id=reader.text(41),
        exchange_order_id=reader.text(37),
        ord_status=reader.ord_status(),
        response_to_replace=response_to == "2",
        reject_reason=reader.optional_integer(102),
        text=reader.optional_text(58),
    )


def _session_phase(phase: SessionPhase, version: FixVersion) -> Fields:
    # 5.0 SP2 closes TradingSessionID to a list of its own, and has fields for market and segment.
    status, sub_id = _SESSION_STATUS[phase.phase]
    if version is FixVersion.FIX42:
        yield 336, ".".join(filter(None, (phase.exchange, phase.segment, phase.session_class)))
        yield 340, status
    else:
        yield 1301, phase.exchange
        yield 1300, phase.segment
        yield 336, "1"
        yield 625, sub_id
        yield 340, status
    yield 341, _time(phase.since_ns, version)
    if phase.scheduled_ns is not None:
        yield 342, _time(phase.scheduled_ns, version)
    yield 58, phase.phase.value
    if version is FixVersion.FIX50SP2:
        yield from f.text_field(1151, phase.session_class)


def _read_session_phase(reader: FieldReader, version: FixVersion) -> SessionPhase:
    if version is FixVersion.FIX42:
        exchange, segment, session_class = _read_session_id(reader)
    else:
        exchange, segment = reader.text(1301), reader.text(1300)
        session_class = reader.optional_text(1151)
    phase = reader.word(58, MarketPhase)
    if reader.text(340) != _SESSION_STATUS[phase][0]:
        raise CodecError(340, f"TradSesStatus contradicts the phase {phase}")
    scheduled_ns = reader.time(342) if reader.optional_text(342) else None
    return SessionPhase(exchange, segment, phase, reader.time(341), session_class, scheduled_ns)


def _read_session_id(reader: FieldReader) -> tuple[str, str, str | None]:
    names = reader.text(336).split(".")
    if len(names) not in (2, 3) or not all(names):
        raise CodecError(336, "TradingSessionID is not EXCHANGE.SEGMENT or EXCHANGE.SEGMENT.CLASS")
    exchange, segment, *session_class = names
    return exchange, segment, session_class[0] if session_class else None


def _band_set(band: BandSet, version: FixVersion) -> Fields:
    yield 55, band.symbol
    yield 207, band.exchange
    yield 325, "Y"
    yield from f.price_field(332, band.high)
    yield from f.price_field(333, band.low)
    yield 60, _time(band.since_ns, version)


def _read_band_set(reader: FieldReader) -> BandSet:
    low, high = reader.price(333), reader.price(332)
    if not 0 < low <= high:
        raise CodecError(333, f"a band from {low} to {high}")
    return BandSet(reader.text(207), reader.text(55), low, high, reader.time(60))


def _time(time_ns: int, version: FixVersion) -> str:
    return f.timestamp(time_ns, 3 if version is FixVersion.FIX42 else 9)
