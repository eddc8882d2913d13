"""What clients see of the market: instruments and what they take when, candles, phases and their next change.

Phases are what the exchange announced (storage), the next change what the dated rules say
(domain/sessions.py). Called by api/market.py.
"""

from datetime import date
from typing import Any, Literal, Self

from pydantic import BaseModel, Field

from api.responses import Rupees, Time, rupees_or_none
from domain import instruments
from domain.instruments import InstrumentKind
from domain.money import rupees
from domain.orders import OrderType, Product, Validity
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS, PhaseChange, SessionClass, SessionRules
from domain.time import rfc3339
from domain.validation import PRODUCTS


class Permissions(BaseModel):
    """What an instrument takes: its products, and the order types of each phase of its next day."""

    session_class: SessionClass
    products: list[Product]
    phases: dict[MarketPhase, list[OrderType]]

    @classmethod
    def by_rules(
        cls, instrument: instruments.Instrument, session_class: SessionClass, rules: SessionRules, today: date
    ) -> Self:
        traded = instrument.tradable and instrument.kind is not InstrumentKind.INDEX
        day = rules.calendar.next_trading_day(today)
        phases = [change.phase for change in rules.changes(day, session_class)] if traded and day else []
        return cls(
            session_class=session_class,
            products=sorted(PRODUCTS[instrument.segment]) if traded else [],
            phases={p: sorted(PERMISSIONS[p].order_types) for p in phases if PERMISSIONS[p].order_types},
        )


class Instrument(Permissions):
    instrument_id: str
    exchange: str
    symbol: str
    name: str
    segment: instruments.Segment
    kind: instruments.InstrumentKind
    isin: str | None
    tick_size: Rupees
    lot_size: int
    freeze_quantity: int = Field(description="the largest quantity of one order")
    previous_close: Rupees
    lower_band: Rupees
    upper_band: Rupees
    tradable: bool
    expiry: date | None
    strike: Rupees | None
    option_type: Literal["CE", "PE"] | None

    @classmethod
    def of(cls, instrument: instruments.Instrument, permissions: Permissions) -> Self:
        amounts = ("tick_size", "previous_close", "lower_band", "upper_band", "strike")
        shown = {name: getattr(instrument, name) for name in instruments.Instrument.__slots__}
        shown |= {name: rupees_or_none(shown[name]) for name in amounts}
        return cls(**shown, **dict(permissions))


class Instruments(BaseModel):
    instruments: list[Instrument]


class Candle(BaseModel):
    """One minute; `time` is its beginning."""

    time: Time
    open: Rupees
    high: Rupees
    low: Rupees
    close: Rupees
    volume: int

    @classmethod
    def of(cls, row: dict[str, Any]) -> Self:
        prices = {name: rupees(row[name]) for name in ("open", "high", "low", "close")}
        return cls(time=rfc3339(row["minute_ns"]), volume=row["volume"], **prices)


class Candles(BaseModel):
    """Oldest first. `next_from` continues where there are more."""

    instrument_id: str
    candles: list[Candle]
    has_more: bool
    next_from: Time | None


class NextChange(BaseModel):
    """The exchange draws some moments at random, between `earliest` and `latest`."""

    phase: MarketPhase
    earliest: Time
    latest: Time

    @classmethod
    def of(cls, change: PhaseChange) -> Self:
        return cls(phase=change.phase, earliest=rfc3339(change.earliest_ns), latest=rfc3339(change.latest_ns))


class SegmentStatus(BaseModel):
    """The phase of a session class, what it lets in, and what comes next by the rules."""

    exchange: str
    segment: instruments.Segment
    session_class: SessionClass
    phase: MarketPhase
    since: Time
    order_types: list[OrderType]
    validities: list[Validity]
    modify: bool
    cancel: bool
    scheduled_phase: MarketPhase
    next_change: NextChange | None

    @classmethod
    def of(cls, row: dict[str, Any], rules: SessionRules, now_ns: int) -> Self:
        session_class, phase = SessionClass(row["session_class"]), MarketPhase(row["phase"])
        permission, change = PERMISSIONS[phase], rules.next_change(now_ns, session_class)
        return cls(
            exchange=row["exchange"],
            segment=row["segment"],
            session_class=session_class,
            phase=phase,
            since=rfc3339(row["since_ns"]),
            order_types=sorted(permission.order_types),
            validities=sorted(permission.validities),
            modify=permission.modify,
            cancel=permission.cancel,
            scheduled_phase=rules.phase_at(now_ns, session_class),
            next_change=NextChange.of(change) if change else None,
        )


class MarketStatus(BaseModel):
    segments: list[SegmentStatus]
