"""What the exchange says of the market, as FIX fields and back: session status (h), security status (f).

Called by exchange/fix/codec.py only.
"""

from domain.reports import BandSet, MarketPhase, SessionPhase
from exchange.fix import fields as f
from exchange.fix.fields import CodecError, FieldReader, Fields, FixVersion

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


def session_phase(phase: SessionPhase, version: FixVersion) -> Fields:
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
    yield 341, f.time(phase.since_ns, version)
    if phase.scheduled_ns is not None:
        yield 342, f.time(phase.scheduled_ns, version)
    yield 58, phase.phase.value
    if version is FixVersion.FIX50SP2:
        yield from f.text_field(1151, phase.session_class)


def read_session_phase(reader: FieldReader, version: FixVersion) -> SessionPhase:
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


def band_set(band: BandSet, version: FixVersion) -> Fields:
    yield 55, band.symbol
    yield 207, band.exchange
    yield 325, "Y"
    yield from f.price_field(332, band.high)
    yield from f.price_field(333, band.low)
    yield 60, f.time(band.since_ns, version)


def read_band_set(reader: FieldReader) -> BandSet:
    low, high = reader.price(333), reader.price(332)
    if not 0 < low <= high:
        raise CodecError(333, f"a band from {low} to {high}")
    return BandSet(reader.text(207), reader.text(55), low, high, reader.time(60))
