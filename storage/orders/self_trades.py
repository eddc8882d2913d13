"""Self-trade prevention: an order that could meet another of its client does not leave for the exchange.

Asked in the transaction that promises an order's margin or changes it, which has locked the user's stream: of
two orders that race, the later finds the earlier, wherever that is by now. What counts of an order is every
set of terms that the exchange has of it or may yet have. By the day's policy (config/order_rules.csv).
An order of the house comes first: what it would meet is taken back. Called by storage/orders/submissions.py,
changes.py and trials.py.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import NamedTuple, Protocol

from config.rules import order_rules
from domain.exchange_terms import ExchangeTerms
from domain.money import rupees
from domain.order_rules import OrderRules, SelfTradePolicy
from domain.orders import OrderTerms, OrderType, PlacedOrder, Side
from domain.rejects import Refusal, RejectCode
from domain.self_trade import Terms, may_meet
from domain.time import trade_date
from storage.database import Connection, columns
from storage.live_orders import LIVE, oldest_living

# Of an order that has left: its terms as it stands, and of each word to the exchange that is not answered.
# The row of an unpriced order has no price; its limit is what it left with.
_OTHERS = f"""
    SELECT o.user_id, o.instrument_id, o.order_id, o.transaction_type AS side, x.price, x.trigger_price,
           EXISTS (SELECT FROM house_orders h
                   WHERE (h.user_id, h.key) = (o.user_id, o.idempotency_key)) AS by_house
    FROM unnest(%s::bigint[], %s::text[]) AS a (user_id, instrument_id)
    JOIN orders o ON o.user_id = a.user_id AND o.instrument_id = a.instrument_id AND {LIVE}
        AND status <> 'PENDING_VALIDATION' AND o.order_id >= %s
    CROSS JOIN LATERAL (
        SELECT o.price, CASE WHEN status = 'TRIGGER_PENDING' THEN o.trigger_price END AS trigger_price
        WHERE status <> 'PENDING_OPEN' AND o.price IS NOT NULL
        UNION ALL
        SELECT (instruction->>'price')::bigint,
               CASE WHEN status IN ('PENDING_OPEN', 'TRIGGER_PENDING')
                    THEN (instruction->>'trigger_price')::bigint END
        FROM exchange_outbox WHERE order_id = o.order_id AND withdrawn_at_ns IS NULL
            AND (kind = 'NEW' AND (status = 'PENDING_OPEN' OR o.price IS NULL)
                 OR kind = 'REPLACE' AND answered_at_ns IS NULL)) x
"""


class OrderToSend(Protocol):
    """An order that is to leave, as what."""

    @property
    def placed(self) -> PlacedOrder: ...
    @property
    def departure(self) -> ExchangeTerms: ...


class OppositeOrder(NamedTuple):
    order_id: int
    terms: Terms
    by_house: bool


@dataclass(slots=True)
class SelfTrades:
    """The orders that those at hand could meet, growing as they are taken one after the other."""

    rules: Callable[[date], OrderRules]
    others: dict[tuple[int, str], list[OppositeOrder]] = field(default_factory=dict)
    """By user and instrument."""

    def refusal(self, asked: OrderToSend) -> Refusal | None:
        """Why the order may not leave beside the client's own."""
        met = next(iter(self._met(asked)), None) if not asked.placed.by_house else None
        if met is None:
            return None
        limit = None if met.terms.price is None else rupees(met.terms.price)
        return Refusal(RejectCode.SELF_TRADE_PREVENTED, "price", limit)

    def in_the_way(self, asked: OrderToSend) -> set[int]:
        """Orders of the client that an order of the house would meet."""
        if not asked.placed.by_house:
            return set()
        return {one.order_id for one in self._met(asked) if not one.by_house}

    def _met(self, asked: OrderToSend) -> list[OppositeOrder]:
        placed = asked.placed
        if self.rules(trade_date(placed.accepted_at_ns)).self_trade is SelfTradePolicy.ALLOW:
            return []
        terms = leaving_terms(placed.terms, asked.departure)
        others = self.others.get((placed.user_id, placed.terms.instrument_id), ())
        return [one for one in others if one.order_id != placed.order_id and may_meet(terms, one.terms)]

    def take(self, asked: OrderToSend) -> None:
        """The order leaves: the group's later ones find it."""
        placed = asked.placed
        one = OppositeOrder(placed.order_id, leaving_terms(placed.terms, asked.departure), placed.by_house)
        self.others.setdefault((placed.user_id, placed.terms.instrument_id), []).append(one)


def leaving_terms(terms: OrderTerms, leaves: ExchangeTerms) -> Terms:
    """As the exchange will have them."""
    stop = leaves.order_type in (OrderType.SL, OrderType.SL_M)
    return Terms(terms.side, leaves.price, terms.trigger_price if stop else None)


async def read(
    conn: Connection, asked: Sequence[OrderToSend], rules: Callable[[date], OrderRules] = order_rules
) -> SelfTrades:
    """What these orders could meet; their users' streams are locked."""
    pairs = {(one.placed.user_id, one.placed.terms.instrument_id) for one in asked}
    found = SelfTrades(rules)
    values = (*columns(pairs), oldest_living(trade_date(time.time_ns())))
    for row in await (await conn.execute(_OTHERS.encode(), values)).fetchall():
        terms = Terms(Side(row["side"]), row["price"], row["trigger_price"])
        other = OppositeOrder(row["order_id"], terms, row["by_house"])
        found.others.setdefault((row["user_id"], row["instrument_id"]), []).append(other)
    return found
