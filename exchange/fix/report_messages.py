"""What the exchange says of an order, as FIX fields and back: execution report (8), cancel reject (9).

FIX 4.2 tells fills by ExecType 1 and 2 and busts, corrections and status answers by ExecTransType (20);
it has no "triggered", so a trigger is a restatement (ExecType D, ExecRestatementReason 4); a market order
that an auction reprices is one in both (reason 3). Called by exchange/fix/codec.py only.
"""

from domain.orders import OrderType
from domain.reports import CancelRejected, ExecType, ExecutionReport
from exchange.fix import fields as f
from exchange.fix.fields import CodecError, FieldReader, Fields, FixVersion

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


def execution(report: ExecutionReport, version: FixVersion) -> Fields:
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
    yield 60, f.time(report.transact_time_ns, version)
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


def read_execution(reader: FieldReader, version: FixVersion) -> ExecutionReport:
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


def cancel_rejected(reject: CancelRejected, version: FixVersion) -> Fields:
    yield 37, reject.exchange_order_id
    yield 11, reject.cl_ord_id
    yield 41, reject.orig_cl_ord_id
    yield 39, reject.ord_status.value
    yield 434, "2" if reject.response_to_replace else "1"
    known = version is not FixVersion.FIX42 or (reject.reject_reason or 0) <= _CXL_REJ_MAX_42
    if reject.reject_reason is not None and known:
        yield 102, str(reject.reject_reason)
    yield from f.text_field(58, reject.text)


def read_cancel_rejected(reader: FieldReader) -> CancelRejected:
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
