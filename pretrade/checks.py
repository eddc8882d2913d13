"""How an order is judged: every gate that needs no money, then as what it leaves and what that takes.

The workflow's steps act on the first refusal (activities/gates.py, changes.py), a dry run tells all of them
(api/dry_run.py): one code decides both. Nothing is written here.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

from bus.last_prices import LastPrices
from domain.changes import Change, change_refusals, phase_refusal
from domain.exchange_terms import (
    Admission,
    ExchangeTerms,
    admit,
    exchange_terms,
    expiry_refusal,
    intraday_refusal,
    may_short,
    needs_last_price,
)
from domain.instruments import Instrument, Segment
from domain.margin import unit_margin
from domain.nearest import agreed
from domain.orders import OrderTerms, OrderType
from domain.price_bands import protection_refusal
from domain.rejects import Refusal, RejectCode
from domain.reports import MarketPhase
from domain.time import trade_date
from domain.trading_states import enlarges
from domain.validation import terms_refusals
from pretrade.day_rules import DayRules
from storage.market.phases import MarketPhases
from storage.orders.changes import ChangeableOrder


@dataclass(frozen=True, slots=True)
class Judgement:
    refusals: list[Refusal]
    admission: Admission | None
    """None: the market does not take the order."""


class PricedOrder(NamedTuple):
    exchange_terms: ExchangeTerms
    unit_margin: int
    """Paise of one share that opens a position."""


class PreTradeChecks:
    """By the instruments' master, the day's rules, and what the exchange announced last."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        day: DayRules,
        phases: MarketPhases,
        prices: LastPrices,
        intraday_percent: int,
    ) -> None:
        self._instruments, self._day, self._phases, self._prices = instruments, day, phases, prices
        self._intraday_percent = intraday_percent

    def instrument(self, instrument_id: str) -> Instrument | None:
        """With its band as it stands now."""
        listed = self._instruments.get(instrument_id)
        return None if listed is None else self._phases.present(listed)

    async def gates(
        self, terms: OrderTerms, today: date, *, by_house: bool = False, sliced: bool = False
    ) -> Judgement:
        """Every refusal by what is asked for and when."""
        instrument = self.instrument(terms.instrument_id)
        refusals = terms_refusals(terms, instrument, today, sliced=sliced)
        if instrument is None:
            return Judgement(refusals, None)
        now_ns = time.time_ns()
        if unknown := self._day.unknown(now_ns):
            return Judgement([*refusals, unknown], None)
        phase = await self._phases.asked(instrument)
        session_class = self._day.session_class(instrument, now_ns)
        market_ns = self._phases.market_time_ns(instrument.exchange, now_ns)
        hours = self._day.hours
        entered = admit(terms, phase, session_class, hours, now_ns, market_ns, by_house=by_house)
        if isinstance(entered, Refusal):
            return Judgement([*refusals, entered], None)
        expired = expiry_refusal(instrument, entered)
        if expired is not None and expired not in refusals:
            refusals = [expired, *refusals]
        last = await self.last_trades(terms) if instrument.segment is Segment.FO else None
        beyond = self.beyond_protection(terms, entered, last)
        return Judgement(agreed([*refusals, beyond]) if beyond else refusals, entered)

    async def last_trades(self, terms: OrderTerms) -> int | None:
        """The last price: it stands for the exchange's own average of the last trades, which protects
        derivatives, and a short is margined at it. None where it is not known or of no use."""
        instrument = self.instrument(terms.instrument_id)
        if instrument is None or not (instrument.segment is Segment.FO or may_short(terms)):
            return None
        return await self._prices.price(instrument)

    def beyond_protection(self, terms: OrderTerms, entered: Admission, last: int | None) -> Refusal | None:
        """Whether a limit order in a derivative that meets the market at once is too far from the last
        trades. Where these are not known the exchange decides."""
        instrument = self.instrument(terms.instrument_id)
        limited = terms.order_type is OrderType.LIMIT and entered.into_continuous
        if instrument is None or instrument.segment is not Segment.FO or last is None or not limited:
            return None
        return protection_refusal(terms, instrument, last, self._day.limit_protection(time.time_ns()))

    def change(
        self, stands: ChangeableOrder, asked: Change, terms: OrderTerms, last: int | None
    ) -> PricedOrder | Refusal:
        """As what an order under way that is to have these terms leaves, or why it may not; `last` is what
        `last_trades` answers."""
        now_ns = time.time_ns()
        if unknown := self._day.unknown(now_ns):
            return unknown
        instrument = self._phases.present(self._instruments[terms.instrument_id])
        today, phase = trade_date(now_ns), self._phases.phase(instrument)
        refusals = change_refusals(stands.terms, asked, stands.filled, stands.changes, instrument, today)
        others = [self._intraday(stands.terms, terms, instrument, now_ns)]
        if not stands.unsent:
            entered = Admission(phase or MarketPhase.CLOSED)
            others = [phase_refusal(terms, phase), self.beyond_protection(terms, entered, last), *others]
        refusals = agreed([*refusals, *(refusal for refusal in others if refusal is not None)])
        if refusals:
            return refusals[0]
        # An order that can be changed has a price or a trigger: it is never refused for want of a last price.
        entered = Admission(
            MarketPhase.CONTINUOUS, day=self._meets_market_on(stands, phase, instrument, now_ns)
        )
        leaves = exchange_terms(terms, instrument, entered, last, self._day.protection(now_ns))
        if isinstance(leaves, Refusal):
            return leaves
        leaving = self._margined(terms, instrument, leaves)
        if isinstance(leaving, Refusal) or enlarges(stands.terms, terms):
            return leaving
        # What only makes an order less needs no more than it has blocked, wherever the market is by now.
        return leaving._replace(unit_margin=min(leaving.unit_margin, stands.hold.unit_margin))

    def _meets_market_on(
        self, stands: ChangeableOrder, phase: MarketPhase | None, instrument: Instrument, now_ns: int
    ) -> date | None:
        """The day of an order under way: of one that waits in a closed market, the day of its release."""
        market_ns = self._phases.market_time_ns(instrument.exchange, now_ns) or now_ns
        if stands.unsent and phase is MarketPhase.CLOSED:
            return self._day.hours.release_day(market_ns, self._day.session_class(instrument, now_ns))
        return trade_date(market_ns)

    async def leaving(self, terms: OrderTerms, entered: Admission) -> PricedOrder | Refusal:
        """As what an order whose terms pass the gates leaves, and the margin of a share: an unpriced one at
        the dearest price that its protection allows, a short at least at the last price."""
        now_ns = time.time_ns()
        if unknown := self._day.unknown(now_ns):
            return unknown
        instrument = self._phases.present(self._instruments[terms.instrument_id])
        asks = may_short(terms) or needs_last_price(terms, entered)
        last = await self._prices.price(instrument) if asks else None
        leaves = exchange_terms(terms, instrument, entered, last, self._day.protection(now_ns))
        return leaves if isinstance(leaves, Refusal) else self._margined(terms, instrument, leaves)

    def _margined(
        self, terms: OrderTerms, instrument: Instrument, leaves: ExchangeTerms
    ) -> PricedOrder | Refusal:
        percent = self._intraday_percent
        unit = unit_margin(instrument.kind, terms.product, terms.side, leaves.margin_price, percent)
        return Refusal(RejectCode.MARGIN_UNKNOWN) if unit is None else PricedOrder(leaves, unit)

    def _intraday(
        self, terms: OrderTerms, changed: OrderTerms, instrument: Instrument, now_ns: int
    ) -> Refusal | None:
        """From the square-off on, an intraday order may be made less, not more."""
        if not enlarges(terms, changed):
            return None
        market_ns = self._phases.market_time_ns(instrument.exchange, now_ns)
        session_class = self._day.session_class(instrument, now_ns)
        return intraday_refusal(changed, session_class, self._day.hours, market_ns)
