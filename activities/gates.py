"""The first two steps: do the terms pass the gates, and does the margin cover them?"""

import time

from temporalio import activity

from domain.exchange_terms import Admission, ExchangeTerms, within
from domain.margin import Block, BlockOutcome, position_key
from domain.money import rupees
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from pretrade.checks import PreTradeChecks
from storage.books.keeping import BookKeeping
from storage.margin.accounts import AccountUnknown
from workflow_api.results import PASSED, Decision


class Gates:
    """Instrument, market phase and margin."""

    def __init__(self, judge: PreTradeChecks, keeping: BookKeeping) -> None:
        self._judge, self._keeping, self._portfolios = judge, keeping, keeping.portfolios

    @activity.defn(name="validate")
    async def validate(self, placed: PlacedOrder) -> Decision:
        """Every gate that needs no money."""
        today = trade_date(placed.accepted_at_ns)
        judged = await self._judge.gates(placed.terms, today, by_house=placed.by_house)
        entered = judged.admission
        if judged.refusals or entered is None:
            return Decision.refused(judged.refusals[0])
        waits = f" Armed for {' or '.join(entered.release_phases)}." if entered.release_phases else ""
        said = f"Every gate passed; the market is in {entered.phase}.{waits}"
        return Decision(said, PASSED, time.time_ns(), entry=entered)

    @activity.defn(name="block_margin")
    async def block_margin(self, placed: PlacedOrder, entered: Admission) -> Decision:
        """Lock the margin; an unpriced order at the dearest price that its protection allows.

        Of a derivative that is an option's premium: its portfolio is margined when the order is submitted,
        under the ledger's lock. An order that could not be margined then is refused here.
        """
        terms = placed.terms
        leaving = await self._judge.leaving(terms, entered)
        if isinstance(leaving, Refusal):
            return Decision.refused(leaving)
        unusable = self._portfolios.unusable(terms)
        if unusable is not None:
            return Decision.refused(unusable)
        leaves, unit = leaving
        position = position_key(terms.instrument_id, terms.product)
        nets = terms.product is not Product.CNC
        try:
            # Slices ask for the whole, under their parent's id: all or none of it is blocked.
            whole = terms.quantity if placed.slice_of is None else placed.slice_of.quantity
            block = await self._keeping.block(
                placed.user_id, placed.margin_id, terms.side, position, nets, whole, unit
            )
        except AccountUnknown:
            return Decision.refused(Refusal(RejectCode.ACCOUNT_UNKNOWN))
        # An earlier run blocked at its own last price, and its answer stands: the order leaves within it.
        instrument = self._judge.instrument(terms.instrument_id)
        assert instrument is not None
        return _blocked(block, within(leaves, terms, instrument, unit, block.unit_margin))


def _blocked(block: Block, leaves: ExchangeTerms) -> Decision:
    needs = f"needs Rs {rupees(block.required)}, available Rs {rupees(block.available)}"
    if block.outcome is not BlockOutcome.BLOCKED:
        refusal = Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(block.available))
        reason = f"{refusal.sentence} The order {needs}."
        return Decision.refused(refusal, reason)
    price = f" at Rs {rupees(leaves.price)}" if leaves.price is not None else ""
    said = f"Margin blocked: {needs}. It leaves as {leaves.order_type}{price}."
    return Decision(said, PASSED, time.time_ns(), block=block, departure=leaves)
