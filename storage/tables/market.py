"""Instruments, and what the exchanges announce: phases, price bands, candles."""

from datetime import date

from sqlalchemy import (
    CHAR,
    BigInteger,
    Boolean,
    CheckConstraint,
    Date,
    Integer,
    String,
    Text,
    UniqueConstraint,
)

from domain.instruments import InstrumentKind, Segment
from storage.tables.base import INSTRUMENT_KIND, SEGMENT, Row, column


class InstrumentRow(Row, table=True):
    """An instrument of the master; prices and bands in paise, quantities in units.

    `session_class` is the class of the present day; an empty one has no phase, so nothing is released for it.
    """

    __tablename__ = "instruments"
    __table_args__ = (
        CheckConstraint("upper_band >= lower_band"),
        CheckConstraint("instrument_id = exchange || ':' || symbol"),
        UniqueConstraint("exchange", "token"),
    )

    instrument_id: str = column(String(30), primary_key=True)
    exchange: str = column(String(4))
    symbol: str = column(String(25))
    token: int = column(Integer)
    segment: Segment = column(SEGMENT)
    kind: InstrumentKind = column(INSTRUMENT_KIND)
    name: str = column(Text)
    isin: str | None = column(CHAR(12), nullable=True)
    tick_size: int = column(BigInteger, check="tick_size > 0")
    lot_size: int = column(Integer, check="lot_size > 0")
    freeze_quantity: int = column(Integer, check="freeze_quantity > 0")
    previous_close: int = column(BigInteger, check="previous_close > 0")
    lower_band: int = column(BigInteger, check="lower_band > 0")
    upper_band: int = column(BigInteger)
    dynamic_band: bool = column(Boolean)
    tradable: bool = column(Boolean)
    underlying: str | None = column(String(30), nullable=True)
    expiry: date | None = column(Date, nullable=True)
    strike: int | None = column(BigInteger, nullable=True)
    option_type: str | None = column(CHAR(2), check="option_type IN ('CE', 'PE')", nullable=True)
    session_class: str = column(String(20), default="''")


class MarketPhaseRow(Row, table=True):
    """The phase that an exchange last announced for a session class."""

    __tablename__ = "market_phases"

    exchange: str = column(String(4), primary_key=True)
    segment: Segment = column(SEGMENT, primary_key=True)
    phase: str = column(String(30))
    since_ns: int = column(BigInteger)
    session_class: str = column(String(20), primary_key=True)
    scheduled_ns: int | None = column(
        BigInteger,
        nullable=True,
        comment=("the moment of the trading day that since_ns was; NULL: no hours are kept"),
    )


class PriceBandRow(Row, table=True):
    """A price band, in paise, that the exchange moved during the day; all others are the master's."""

    __tablename__ = "price_bands"
    __table_args__ = (CheckConstraint("high >= low"),)

    instrument_id: str = column(String(30), primary_key=True)
    low: int = column(BigInteger, check="low > 0")
    high: int = column(BigInteger)
    since_ns: int = column(BigInteger, comment="a band is in force on the trade date of this instant alone")


class CandleRow(Row, table=True):
    """A one-minute candle; prices in paise, `minute_ns` the minute's first nanosecond.

    The volumes are the feed's running totals at both ends, so that the parts of one minute can be joined.
    """

    __tablename__ = "candles"
    __table_args__ = (
        CheckConstraint("closing_volume >= opening_volume"),
        CheckConstraint("low <= least(open, close) AND high >= greatest(open, close)"),
    )

    instrument_id: str = column(String(30), primary_key=True)
    minute_ns: int = column(BigInteger, primary_key=True, check="minute_ns % 60000000000 = 0")
    open: int = column(BigInteger)
    high: int = column(BigInteger)
    low: int = column(BigInteger)
    close: int = column(BigInteger)
    opening_volume: int = column(BigInteger)
    closing_volume: int = column(BigInteger)
