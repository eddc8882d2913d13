"""The risk desk's gate, asked in the transaction that promises an order's margin: states, bans, limits.

A change that enlarges an order passes it as a new order of what would be left would.

What an account risks is read under its ledger row's lock, so of racing orders each counts those before it.
What the desk has said by then holds; what it says later is caught at the exchange gate (storage/stops.py).
No limits on record: nothing may be risked. Called by storage/submissions.py, changes.py and trials.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.departure import Departure
from domain.instruments import Segment
from domain.margin import Block
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.risk_limits import NOTHING, Risk, RiskLimits, limit_refusals
from domain.time import trade_date
from domain.trading_states import reduces, state_refusal
from storage.database import Connection, columns
from storage.trading_states import standing_of

_READ = """
    WITH asked AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::text[], %s::date[])
            AS a (order_id, user_id, instrument_id, product, side, day)
    )
    SELECT a.order_id, n.segment, n.lot_size, l.exposure_limit, l.position_limit,
           l.order_value_limit,
           ARRAY(SELECT to_jsonb(s) FROM trading_states s WHERE s.state <> 'ACTIVE'
                 AND s.key IN ('all', 'user:' || a.user_id, 'instrument:' || a.instrument_id,
                               'segment:' || n.exchange || ':' || n.segment)) AS states,
           EXISTS (SELECT FROM derivative_bans b
                   WHERE b.trade_date = a.day AND b.underlying = n.underlying) AS banned,
           EXISTS (SELECT FROM house_orders h
                   JOIN orders o ON (o.user_id, o.idempotency_key) = (h.user_id, h.key)
                   WHERE o.order_id = a.order_id) AS by_house,
           p.net, h.same_side, p.exposure + h.exposure AS exposure
    FROM asked a
    LEFT JOIN instruments n USING (instrument_id)
    LEFT JOIN LATERAL (
        SELECT * FROM risk_limits r
        WHERE (r.user_id = a.user_id OR r.user_id IS NULL) AND r.effective_from <= a.day
        ORDER BY r.user_id NULLS LAST, r.effective_from DESC LIMIT 1) l ON true
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(abs(open_cost)), 0)::bigint AS exposure,
               COALESCE(sum(buy_quantity - sell_quantity) FILTER (
                   WHERE p.instrument_id = a.instrument_id AND p.product = a.product::product), 0)::int AS net
        FROM positions p WHERE p.user_id = a.user_id) p
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(h.open_quantity * COALESCE(h.margin_price, m.upper_band)), 0)::bigint AS exposure,
               COALESCE(sum(h.open_quantity + h.close_quantity) FILTER (
                   WHERE h.instrument_id = a.instrument_id AND h.product = a.product::product
                     AND h.transaction_type = a.side::side), 0)::int AS same_side
        FROM margin_holds h JOIN instruments m USING (instrument_id)
        WHERE h.user_id = a.user_id AND h.state = 'BLOCKED' AND h.product <> 'CNC'
          AND h.order_id <> a.order_id) h
"""


class Asked(Protocol):
    """What storage/submissions.py is asked to submit, or what storage/changes.py is to make of an order."""

    @property
    def placed(self) -> PlacedOrder: ...
    @property
    def block(self) -> Block: ...
    @property
    def departure(self) -> Departure: ...


@dataclass(slots=True)
class RiskGate:
    """What the group's accounts risk, growing as its orders are taken one after the other."""

    rows: dict[int, dict[str, Any]]
    exposure: dict[int, int] = field(default_factory=dict)
    """Taken by this group, by user."""
    positions: dict[tuple[int, str, str, str], int] = field(default_factory=dict)

    def refusals(self, asked: Asked) -> Iterator[Refusal]:
        """Why the desk does not let the order pass, by precedence."""
        row, terms = self.rows[asked.placed.order_id], asked.placed.terms
        if row["segment"] is None:
            yield Refusal(RejectCode.INSTRUMENT_UNKNOWN, "instrument_id")
            return
        opens, by_house = not reduces(terms, asked.block), row["by_house"]
        standings = [standing_of(state) for state in row["states"]]
        stopped = state_refusal(standings, opens=opens, by_house=by_house)
        if stopped is not None:
            yield stopped
        if by_house:
            return
        if opens and row["banned"] and row["segment"] == Segment.FO:
            yield Refusal(RejectCode.BANNED_FOR_DERIVATIVES, "instrument_id")
        yield from limit_refusals(_limits(row), terms, self._risk(asked))

    def halted(self, placed: PlacedOrder) -> Refusal | None:
        """Why a state stops even what only takes away from the order."""
        row = self.rows[placed.order_id]
        standings = [standing_of(state) for state in row["states"]]
        return state_refusal(standings, opens=False, by_house=row["by_house"])

    def take(self, asked: Asked) -> None:
        """The order has passed every gate: the group's later ones find it."""
        placed = asked.placed
        if placed.terms.product is not Product.CNC:
            side, risk = _side(placed), self._risk(asked)
            self.positions[side] = self.positions.get(side, 0) + placed.terms.quantity
            self.exposure[placed.user_id] = self.exposure.get(placed.user_id, 0) + risk.added_exposure

    def _risk(self, asked: Asked) -> Risk:
        placed = asked.placed
        row, terms = self.rows[placed.order_id], placed.terms
        return Risk(
            price=asked.departure.margin_price,
            lot_size=row["lot_size"],
            open_quantity=asked.block.open_quantity,
            position=terms.side.sign * row["net"] + row["same_side"] + self.positions.get(_side(placed), 0),
            exposure=row["exposure"] + self.exposure.get(placed.user_id, 0),
        )


async def read(conn: Connection, asked: Sequence[Asked]) -> RiskGate:
    """What the gate needs to know of these orders; their users' ledger rows are locked."""
    found = await conn.execute(_READ, columns(_row(a.placed) for a in asked))
    return RiskGate({row["order_id"]: row for row in await found.fetchall()})


def _row(placed: PlacedOrder) -> tuple[Any, ...]:
    terms = placed.terms
    day = trade_date(placed.accepted_at_ns)
    return placed.order_id, placed.user_id, terms.instrument_id, terms.product.value, terms.side.value, day


def _side(placed: PlacedOrder) -> tuple[int, str, str, str]:
    terms = placed.terms
    return placed.user_id, terms.instrument_id, terms.product, terms.side


def _limits(row: dict[str, Any]) -> RiskLimits:
    if row["exposure_limit"] is None:
        return NOTHING
    return RiskLimits(row["exposure_limit"], row["position_limit"], row["order_value_limit"])
