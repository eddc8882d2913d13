"""A client's change of an order: what it may alter, and what the order's hold must cover meanwhile.

Until the exchange has answered, either set of terms may trade, so the hold covers the dearer of both: the
envelope. Afterwards it is settled to what the order then is. The gates are those of a new order and the
phase's permission to modify; an order may be changed CHANGES_MOST times, as at other brokers.
"""

from dataclasses import dataclass, replace
from datetime import date

from domain.instruments import Instrument
from domain.margin import Hold
from domain.orders import OrderTerms, OrderType
from domain.rejects import Refusal, RejectCode, by_precedence
from domain.reports import MarketPhase
from domain.sessions import PERMISSIONS
from domain.validation import terms_refusals

CHANGES_MOST = 25


@dataclass(frozen=True, slots=True)
class Change:
    """What is given replaces what stands; prices in paise, `quantity` is the new total."""

    quantity: int | None = None
    price: int | None = None
    trigger_price: int | None = None

    def applied_to(self, terms: OrderTerms) -> OrderTerms:
        return replace(
            terms,
            quantity=terms.quantity if self.quantity is None else self.quantity,
            price=terms.price if self.price is None else self.price,
            trigger_price=terms.trigger_price if self.trigger_price is None else self.trigger_price,
        )


def change_refusals(
    terms: OrderTerms, change: Change, filled: int, changes: int, instrument: Instrument, today: date
) -> list[Refusal]:
    """Every reason against the change that the market's phase has no part in; `terms` as they stand."""
    changed = change.applied_to(terms)
    own = []
    if terms.order_type is OrderType.MARKET:
        own.append(Refusal(RejectCode.ORDER_TYPE_NOT_SUPPORTED, "order_type", "LIMIT, SL, SL-M"))
    if changed == terms:
        own.append(Refusal(RejectCode.NOTHING_TO_CHANGE))
    if changes >= CHANGES_MOST:
        own.append(Refusal(RejectCode.CHANGE_LIMIT_REACHED, limit=str(CHANGES_MOST)))
    return by_precedence([*terms_refusals(changed, instrument, today, filled=filled), *own])


def phase_refusal(terms: OrderTerms, phase: MarketPhase | None) -> Refusal | None:
    """Whether the market lets a resting order of this kind be changed now."""
    if phase is None:
        return Refusal(RejectCode.MARKET_PHASE_UNKNOWN)
    permission = PERMISSIONS[phase]
    if not permission.modify or terms.order_type in permission.fixed:
        return Refusal(RejectCode.MARKET_CLOSED, limit=phase.value)
    return None


def settled(hold: Hold, unit: int, quantity: int, filled: int) -> Hold:
    """The hold of an order that is now of `quantity`, of which `filled` has traded."""
    left = quantity - filled
    closing = min(hold.close_quantity, left)
    return replace(hold, unit_margin=unit, open_quantity=left - closing, close_quantity=closing)


def envelope(hold: Hold, unit: int, quantity: int, filled: int) -> Hold:
    """The hold while either set of terms may trade: the more of quantity, at the dearer unit."""
    after = settled(hold, unit, quantity, filled)
    return replace(
        hold,
        unit_margin=max(hold.unit_margin, unit),
        open_quantity=max(hold.open_quantity, after.open_quantity),
    )
