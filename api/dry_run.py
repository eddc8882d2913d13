"""`POST /api/v1/orders?dry_run=true`: every refusal at once, what the order would block and cost.

The gates are those of a real order: pretrade/checks.py, then the books by storage/orders/dry_runs.py. Nothing
is written, nothing blocked; a real order a moment later may meet another market.
"""

import time
from dataclasses import astuple
from typing import Annotated, Any, Self

from fastapi import Query
from pydantic import BaseModel, Field

from api.problems import Failure
from api.responses import Rupees
from config.rules import charge_rates
from domain import charges
from domain.exchange_terms import Admission
from domain.instruments import Instrument
from domain.money import rupees
from domain.nearest import agreed
from domain.orders import OrderTerms, OrderType, PlacedOrder, Product, Side
from domain.rejects import Refusal, by_precedence
from domain.reports import MarketPhase
from domain.slicing import slices
from domain.time import trade_date
from domain.validation import UNRECKONABLE
from pretrade.checks import PricedOrder
from storage.orders import dry_runs

NO_ORDER = 0
"""An id that is nobody's."""
Asked = Annotated[
    bool,
    Query(
        alias="dry_run",
        description="answer 200 with what the order would meet; nothing is written, nothing blocked",
    ),
]


class Charges(BaseModel):
    """By the day's rate card, if the whole order traded at the price of `value`."""

    brokerage: Rupees
    stt: Rupees
    exchange: Rupees
    ipft: Rupees
    sebi: Rupees
    stamp: Rupees
    gst: Rupees
    total: Rupees
    depository: Rupees = Field(description="debited once a day for each ISIN that is sold; not in the total")

    @classmethod
    def of(cls, lines: charges.Charges, depository: int) -> Self:
        named = {name: rupees(getattr(lines, name)) for name in cls.model_fields if name != "depository"}
        return cls(**named, depository=rupees(depository))


class DryRun(BaseModel):
    """What is null cannot be reckoned: the failures say why."""

    failures: list[Failure] = Field(description="everything that is wrong, by precedence; empty: it passes")
    release_phases: list[MarketPhase] = Field(description="the order would wait for one; empty: for none")
    slices: list[int] = Field(description="quantities of the orders that it is sent as")
    leaves_as: OrderType | None = None
    leaves_at: Rupees | None = Field(default=None, description="the price limit, if there is one")
    blocked_margin: Rupees | None = None
    available_cash: Rupees | None = Field(default=None, description="before the order")
    value: Rupees | None = Field(default=None, description="at the dearest price it may trade at")
    charges: Charges | None = None


async def dry_run(state: Any, user_id: int, terms: OrderTerms, *, sliced: bool = False) -> DryRun:
    """Of an order as a client would place it now; `state` is the application's."""
    now_ns = time.time_ns()
    instrument = state.judge.instrument(terms.instrument_id)
    judged = await state.judge.gates(terms, trade_date(now_ns), sliced=sliced)
    refusals = list(judged.refusals)
    told = DryRun(
        failures=[],
        release_phases=judged.admission.release_phases if judged.admission else [],
        slices=[terms.quantity],
    )
    if instrument is not None:
        if sliced and terms.quantity > instrument.freeze_quantity:
            told.slices = slices(terms.quantity, instrument)
        frozen = state.trading_states.refusal(user_id, terms, instrument.segment)
        full = await state.intake.room_refusal(user_id, now_ns, len(told.slices))
        refusals += [one for one in (frozen, full) if one is not None]
        if not UNRECKONABLE & {refusal.code for refusal in refusals}:
            # What the market does not take now is reckoned as in the continuous market.
            entered = judged.admission or Admission(MarketPhase.CONTINUOUS)
            leaving = await state.judge.leaving(terms, entered)
            if isinstance(leaving, PricedOrder):
                await state.keeping.catch_up([user_id])
                placed = PlacedOrder(NO_ORDER, user_id, 0, now_ns, terms, "", "")
                trial = await dry_runs.attempt(state.database, state.portfolios, placed, *leaving)
                refusals += trial.refusals
                told = _reckoned(told, terms, instrument, leaving, trial, now_ns)
            elif judged.admission is not None:
                refusals.append(leaving)
    told.failures = [_failure(refusal) for refusal in agreed(by_precedence(dict.fromkeys(refusals)))]
    return told


def _reckoned(
    told: DryRun,
    terms: OrderTerms,
    instrument: Instrument,
    leaving: PricedOrder,
    trial: dry_runs.Trial,
    now_ns: int,
) -> DryRun:
    leaves, block = leaving.exchange_terms, trial.block
    value = terms.quantity * leaves.margin_price
    return told.model_copy(
        update={
            "leaves_as": leaves.order_type,
            "leaves_at": None if leaves.price is None else rupees(leaves.price),
            "blocked_margin": None if block is None else rupees(block.required + trial.portfolio_margin),
            "available_cash": None if block is None else rupees(block.available),
            "value": rupees(value),
            "charges": _charges(terms, instrument, leaves.margin_price, told.slices, now_ns),
        }
    )


def _charges(
    terms: OrderTerms, instrument: Instrument, price: int, quantities: list[int], now_ns: int
) -> Charges | None:
    """Each slice is charged as the order that it is."""
    kind = charges.trade_kind(instrument.kind, terms.product)
    rates = charge_rates(trade_date(now_ns)).get((instrument.exchange, kind))
    if rates is None:
        return None
    sold = [instrument.isin or ""] if terms.product is Product.CNC and terms.side is Side.SELL else []
    each = [astuple(charges.trade_charges(terms.side, quantity * price, rates)) for quantity in quantities]
    lines = charges.Charges(*(sum(line) for line in zip(*each, strict=True)))
    return Charges.of(lines, charges.depository_charge(sold, rates))


def _failure(refusal: Refusal) -> Failure:
    return Failure(
        code=refusal.code,
        field=refusal.field,
        limit=refusal.limit,
        nearest=refusal.nearest,
        detail=refusal.sentence,
    )
