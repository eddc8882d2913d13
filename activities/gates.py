"""The first two steps: do the terms pass the gates, and does the margin cover them?"""

import time
from collections.abc import Mapping

from temporalio import activity

from activities.decision import PASSED, REFUSED, Decision
from activities.trading_day import TradingDay
from domain.departure import Departure, Entry, departure, entry, needs_last_price, within
from domain.instruments import Instrument
from domain.margin import Block, BlockOutcome, position_key, unit_margin
from domain.money import rupees
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from domain.validation import terms_refusals
from exchange.last_prices import LastPrices
from storage.margin_book import AccountUnknown, MarginBook
from storage.market_phases import MarketPhases


class Gates:
    """Instrument, market phase and margin; the phase is what the exchange announced last."""

    def __init__(
        self,
        instruments: Mapping[str, Instrument],
        day: TradingDay,
        phases: MarketPhases,
        prices: LastPrices,
        book: MarginBook,
        intraday_percent: int,
    ) -> None:
        self._instruments, self._day, self._phases, self._prices = instruments, day, phases, prices
        self._book, self._intraday_percent = book, intraday_percent

    @activity.defn(name="validate")
    async def validate(self, placed: PlacedOrder) -> Decision:
        """Every gate that needs no money."""
        terms = placed.terms
        instrument = self._instruments.get(terms.instrument_id)
        refusals = terms_refusals(terms, instrument, trade_date(placed.accepted_at_ns))
        if refusals or instrument is None:
            return _refused(refusals[0])
        now_ns = time.time_ns()
        phase = await self._phases.asked(instrument)
        session_class = self._day.session_class(instrument, now_ns)
        entered = entry(terms, phase, session_class, self._day.hours, now_ns)
        if isinstance(entered, Refusal):
            return _refused(entered)
        waits = f" Armed for {' or '.join(entered.release_phases)}." if entered.release_phases else ""
        said = f"Every gate passed; the market is in {entered.phase}.{waits}"
        return Decision(said, PASSED, now_ns, entry=entered)

    @activity.defn(name="block_margin")
    async def block_margin(self, placed: PlacedOrder, entered: Entry) -> Decision:
        """Lock the margin; an unpriced order at the dearest price that its protection allows."""
        terms = placed.terms
        instrument = self._instruments[terms.instrument_id]
        last = await self._prices.price(instrument) if needs_last_price(terms, entered) else None
        leaves = departure(terms, instrument, entered, last, self._day.protection(time.time_ns()))
        if isinstance(leaves, Refusal):
            return _refused(leaves)
        unit = unit_margin(terms.product, terms.side, leaves.margin_price, self._intraday_percent)
        if unit is None:
            return _refused(Refusal(RejectCode.MARGIN_UNKNOWN))
        position = position_key(terms.instrument_id, terms.product)
        nets = terms.product is not Product.CNC
        try:
            block = await self._book.block(
                placed.user_id, placed.order_id, terms.side, position, nets, terms.quantity, unit
            )
        except AccountUnknown:
            return _refused(Refusal(RejectCode.ACCOUNT_UNKNOWN))
        # An earlier run blocked at its own last price, and its answer stands: the order leaves within it.
        return _blocked(block, within(leaves, terms, instrument, unit, block.unit_margin))


def _blocked(block: Block, leaves: Departure) -> Decision:
    needs = f"needs Rs {rupees(block.required)}, available Rs {rupees(block.available)}"
    if block.outcome is not BlockOutcome.BLOCKED:
        refusal = Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(block.available))
        reason = f"{refusal.sentence} The order {needs}."
        return Decision(reason, REFUSED, time.time_ns(), refusal.code, reason)
    price = f" at Rs {rupees(leaves.price)}" if leaves.price is not None else ""
    said = f"Margin blocked: {needs}. It leaves as {leaves.order_type}{price}."
    return Decision(said, PASSED, time.time_ns(), block=block, departure=leaves)


def _refused(refusal: Refusal) -> Decision:
    return Decision(refusal.sentence, REFUSED, time.time_ns(), refusal.code, refusal.sentence)
