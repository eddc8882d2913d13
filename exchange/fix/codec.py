"""The pure FIX codec: domain values to application fields and back, for FIX 4.2 and FIX 5.0 SP2.

Used by the gateway and by the exchange simulator; knows no session, header or trailer. Prices go from the
field's own digits to paise, never through a float; times keep what the wire carries (milliseconds in
FIX 4.2, nanoseconds in 5.0 SP2). A field that cannot be read is a CodecError that names its tag.
The messages by family: order_messages.py, report_messages.py, market_messages.py.
"""

from dataclasses import dataclass

from domain.instructions import CancelOrder, Instruction, NewOrder, ReplaceOrder, StatusRequest
from domain.reports import BandSet, CancelRejected, ExecutionReport, Report, SessionPhase
from exchange.fix import fields as f
from exchange.fix import market_messages, order_messages, report_messages
from exchange.fix.fields import CodecError, FieldReader, FixVersion

__all__ = ["CodecError", "FixBody", "FixVersion", "decode", "encode"]


@dataclass(frozen=True, slots=True)
class FixBody:
    """One application message: its MsgType (35) and its fields in order, without header and trailer."""

    msg_type: str
    fields: tuple[tuple[int, str], ...]


def encode(message: Instruction | Report, version: FixVersion) -> FixBody:
    """The message's application fields in the given version."""
    match message:
        case NewOrder():
            return FixBody("D", tuple(order_messages.new_order(message, version)))
        case CancelOrder():
            return FixBody("F", tuple(order_messages.cancel(message, version)))
        case ReplaceOrder():
            return FixBody("G", tuple(order_messages.replace(message, version)))
        case StatusRequest():
            instrument = ((55, message.symbol), (54, f.SIDE[message.side]))
            return FixBody("H", ((11, message.cl_ord_id), *instrument))
        case ExecutionReport():
            return FixBody("8", tuple(report_messages.execution(message, version)))
        case CancelRejected():
            return FixBody("9", tuple(report_messages.cancel_rejected(message, version)))
        case SessionPhase():
            return FixBody("h", tuple(market_messages.session_phase(message, version)))
        case BandSet():
            return FixBody("f", tuple(market_messages.band_set(message, version)))


def decode(body: FixBody, version: FixVersion) -> Instruction | Report:
    """The domain value of a message.

    Raises CodecError with the tag at fault (None: the MsgType itself is not one of ours).
    """
    reader = FieldReader(dict(body.fields))
    match body.msg_type:
        case "D":
            return order_messages.read_new_order(reader)
        case "F":
            return order_messages.read_cancel(reader)
        case "G":
            return order_messages.read_replace(reader)
        case "H":
            return StatusRequest(reader.text(11), reader.text(55), reader.side())
        case "8":
            return report_messages.read_execution(reader, version)
        case "9":
            return report_messages.read_cancel_rejected(reader)
        case "h":
            return market_messages.read_session_phase(reader, version)
        case "f":
            return market_messages.read_band_set(reader)
    raise CodecError(None, f"MsgType {body.msg_type[:4]!r} is not spoken here")
