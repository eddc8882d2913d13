"""The kill switch: who may trade what, and which orders a state lets through.

A state stands for a scope (a user, an instrument, a segment, all) and has a cause; the strictest that
applies to an order decides, and its refusal names the widest scope. What reduces a position is never
guessed: where it is not known yet, only a halt refuses. Called by the API for an early answer and by
storage/risk/risk_gate.py, which decides; storage/journals/frozen_outbox.py says the same in SQL for the
exchange gateway.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from domain.margin import Block
from domain.orders import OrderTerms, Product, Side
from domain.rejects import Refusal, RejectCode


class TradingState(StrEnum):
    ACTIVE = "ACTIVE"
    REDUCING = "REDUCING"
    """Only orders that reduce a position or sell held shares pass."""
    HALTED = "HALTED"
    """Nothing passes but a cancel, and the closing orders of the house."""


class Scope(StrEnum):
    ALL = "all"
    SEGMENT = "segment"
    """Of an exchange: `NSE:CASH`, `NSE:FO`."""
    INSTRUMENT = "instrument"
    USER = "user"


TWO_PERSONS = frozenset({Scope.ALL, Scope.SEGMENT})
"""A stop of these the desk releases by two people; a stop itself needs one."""


class Cause(StrEnum):
    """Whose state it is; each lifts its own."""

    DESK = "DESK"
    """The risk desk's word."""
    LIMITS = "LIMITS"
    """A user's exposure has passed the limit; the risk desk lifts it."""
    CIRCUIT = "CIRCUIT"
    """The market-wide circuit breaker; the exchange's reopening lifts it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """A state that is not ACTIVE."""

    scope: Scope
    cause: Cause
    state: TradingState


_HALTED = {
    Scope.ALL: RejectCode.TRADING_HALTED,
    Scope.SEGMENT: RejectCode.SEGMENT_HALTED,
    Scope.INSTRUMENT: RejectCode.INSTRUMENT_HALTED,
    Scope.USER: RejectCode.USER_FROZEN,
}
_PRECEDENCE = list(RejectCode)


def state_key(scope: Scope, scope_id: str | int) -> str:
    """What a state is found by: `all`, `segment:NSE:CASH`, `instrument:NSE:TCS`, `user:7`."""
    return scope.value if scope is Scope.ALL else f"{scope}:{scope_id}"


def keys_of(user_id: int, instrument_id: str, segment: str) -> list[str]:
    """Every key under which an order can be stopped."""
    exchange = instrument_id.partition(":")[0]
    return [
        state_key(Scope.ALL, ""),
        state_key(Scope.SEGMENT, f"{exchange}:{segment}"),
        state_key(Scope.INSTRUMENT, instrument_id),
        state_key(Scope.USER, user_id),
    ]


def reduces(terms: OrderTerms, block: Block) -> bool:
    """Whether the order only sells held shares or closes a position, as the margin book has counted."""
    if terms.product is Product.CNC:
        return terms.side is Side.SELL
    return block.open_quantity == 0


def surely_opens(terms: OrderTerms) -> bool:
    """Known without the books."""
    return terms.product is Product.CNC and terms.side is Side.BUY


def enlarges(terms: OrderTerms, changed: OrderTerms) -> bool:
    """Whether a change does more than take away from the order, so that it is judged like a new one.

    What only takes away passes where reducing is allowed, as an order that reduces does; a halt stops it too.
    Less quantity takes away, and so does a lower price of a purchase. A sale at another price is nearer to
    trading or dearer to cover, and a trigger that moves is either.
    """
    if changed.quantity > terms.quantity or changed.trigger_price != terms.trigger_price:
        return True
    if changed.price == terms.price or changed.price is None or terms.price is None:
        return changed.price != terms.price
    return terms.side is Side.SELL or changed.price > terms.price


def state_refusal(standings: Iterable[Standing], *, opens: bool, by_house: bool = False) -> Refusal | None:
    """Why the states stop an order; `opens` when it is known to do more than reduce.

    The house closes positions of those whom the desk has halted; in a halted market it does not either.
    """
    codes = [code for standing in standings if (code := _code(standing, opens, by_house)) is not None]
    return Refusal(min(codes, key=_PRECEDENCE.index)) if codes else None


def _code(standing: Standing, opens: bool, by_house: bool) -> RejectCode | None:
    spared = by_house and standing.cause is not Cause.CIRCUIT
    if standing.state is TradingState.HALTED and not spared:
        return _HALTED[standing.scope]
    return RejectCode.REDUCE_ONLY if standing.state is not TradingState.ACTIVE and opens else None
