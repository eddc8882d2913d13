"""The first two steps: do the terms pass the gates, and does the margin cover them?"""

import time
from collections.abc import Mapping

from temporalio import activity

from activities.decision import PASSED, REFUSED, Decision
from domain.instruments import Instrument
from domain.margin import BlockOutcome, position_key, unit_margin
from domain.money import rupees
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from domain.validation import phase_refusals, terms_refusals
from storage.margin_book import AccountUnknown, MarginBook
from storage.market_phases import MarketPhases


class Gates:
    """Instrument, market phase and margin; the phase is what the exchange announced last."""

    def __init__(
        self,
        phases: MarketPhases,
        instruments: Mapping[str, Instrument],
        book: MarginBook,
        intraday_percent: int,
    ) -> None:
        self._phases, self._instruments, self._book = phases, instruments, book
        self._intraday_percent = intraday_percent

    @activity.defn(name="validate")
    async def validate(self, placed: PlacedOrder) -> Decision:
        """Every gate that needs no money."""
        instrument = self._instruments.get(placed.terms.instrument_id)
        refusals = terms_refusals(placed.terms, instrument, trade_date(placed.accepted_at_ns))
        if instrument is not None:
            refusals += phase_refusals(placed.terms, self._phases.phase(instrument))
        if refusals:
            return _refused(refusals[0])
        return Decision("Every gate passed.", PASSED, time.time_ns())

    @activity.defn(name="block_margin")
    async def block_margin(self, placed: PlacedOrder) -> Decision:
        """Lock the margin; a market order at the worst price that the band allows."""
        terms = placed.terms
        instrument = self._instruments[terms.instrument_id]
        price = terms.price if terms.price is not None else instrument.upper_band
        unit = unit_margin(terms.product, terms.side, price, self._intraday_percent)
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
        needs = f"needs Rs {rupees(block.required)}, available Rs {rupees(block.available)}"
        if block.outcome is not BlockOutcome.BLOCKED:
            refusal = Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(block.available))
            reason = f"{refusal.sentence} The order {needs}."
            return Decision(reason, REFUSED, time.time_ns(), refusal.code, reason)
        return Decision(f"Margin blocked: {needs}.", PASSED, time.time_ns(), block=block)


def _refused(refusal: Refusal) -> Decision:
    return Decision(refusal.sentence, REFUSED, time.time_ns(), refusal.code, refusal.sentence)
