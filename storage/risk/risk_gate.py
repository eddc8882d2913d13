"""The risk desk's gate, asked in the transaction that promises an order's margin: states, bans, limits.

A change that enlarges an order passes it as a new order of what would be left would.

What an account risks is read under its ledger row's lock, so of racing orders each counts those before it.
What the desk has said by then holds; what it says later is caught at the exchange gate
(storage/journals/frozen_outbox.py). No limits on record: nothing may be risked. Called by
storage/orders/submissions.py, changes.py and trials.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from domain.exchange_terms import ExchangeTerms
from domain.instruments import Segment
from domain.margin import Block
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from domain.risk_limits import NOTHING, Risk, RiskLimits, limit_refusals
from domain.time import trade_date
from domain.trading_states import reduces, state_refusal
from storage.database import Connection, columns
from storage.risk.exposures import NET, POSITION_VALUE, UNDERLYING, WRITTEN_AT
from storage.risk.trading_states import standing_of

_SAME = "WHERE x.instrument_id = a.instrument_id"
_HOLD_PRICE = f"""
    CASE WHEN m.kind = 'OPTION' AND transaction_type = 'SELL' THEN {WRITTEN_AT}
         ELSE COALESCE(margin_price, m.upper_band) END
"""
_READ = f"""
    WITH asked AS (
        SELECT * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::int[], %s::date[])
            AS a (order_id, user_id, instrument_id, side, sign, day)
    )
    SELECT a.order_id, m.segment, m.lot_size, l.exposure_limit, l.position_limit, l.order_value_limit,
           CASE WHEN m.kind = 'OPTION' AND sign < 0 THEN {WRITTEN_AT} END AS written_at,
           ARRAY(SELECT to_jsonb(s) FROM trading_states s WHERE s.state <> 'ACTIVE'
                 AND s.key IN ('all', 'user:' || a.user_id, 'instrument:' || a.instrument_id,
                               'segment:' || m.exchange || ':' || m.segment)) AS states,
           EXISTS (SELECT FROM derivative_bans b
                   WHERE b.trade_date = a.day AND b.underlying = m.underlying) AS banned,
           EXISTS (SELECT FROM house_orders h
                   JOIN orders o ON (o.user_id, o.idempotency_key) = (h.user_id, h.key)
                   WHERE o.order_id = a.order_id) AS by_house,
           p.same_side + h.same_side AS position, p.exposure + h.exposure AS exposure
    FROM asked a
    LEFT JOIN instruments m USING (instrument_id)
    LEFT JOIN {UNDERLYING}
    LEFT JOIN LATERAL (
        SELECT * FROM risk_limits r
        WHERE (r.user_id = a.user_id OR r.user_id IS NULL) AND r.effective_from <= a.day
        ORDER BY r.user_id NULLS LAST, r.effective_from DESC LIMIT 1) l ON true
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum({POSITION_VALUE}), 0)::bigint AS exposure,
               COALESCE(sum(GREATEST(a.sign * net, 0)) FILTER ({_SAME}), 0)::int AS same_side
        FROM positions x CROSS JOIN LATERAL {NET} n
        LEFT JOIN instruments m USING (instrument_id) LEFT JOIN {UNDERLYING}
        WHERE x.user_id = a.user_id) p
    CROSS JOIN LATERAL (
        SELECT COALESCE(sum(open_quantity * {_HOLD_PRICE}), 0)::bigint AS exposure,
               COALESCE(sum(open_quantity) FILTER ({_SAME} AND transaction_type = a.side::side), 0)::int
                   AS same_side
        FROM margin_holds x JOIN instruments m USING (instrument_id) LEFT JOIN {UNDERLYING}
        WHERE x.user_id = a.user_id AND state = 'BLOCKED' AND product <> 'CNC'
          AND x.order_id <> a.order_id) h
"""


class RiskedOrder(Protocol):
    """What storage/orders/submissions.py is asked to submit, or what storage/orders/changes.py is to make of
    an order."""

    @property
    def placed(self) -> PlacedOrder: ...
    @property
    def block(self) -> Block: ...
    @property
    def departure(self) -> ExchangeTerms: ...


@dataclass(slots=True)
class RiskGate:
    """What the group's accounts risk, growing as its orders are taken one after the other."""

    rows: dict[int, dict[str, Any]]
    exposure: dict[int, int] = field(default_factory=dict)
    """Taken by this group, by user."""
    positions: dict[tuple[int, str, str], int] = field(default_factory=dict)
    """Units opened by this group, by user, instrument and side."""

    def refusals(self, asked: RiskedOrder) -> Iterator[Refusal]:
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
            # The house only closes: of two who close the same position one comes too late.
            if opens and stopped is None:
                yield Refusal(RejectCode.REDUCE_ONLY)
            return
        if opens and row["banned"] and row["segment"] == Segment.FO:
            yield Refusal(RejectCode.BANNED_FOR_DERIVATIVES, "instrument_id")
        yield from limit_refusals(_limits(row), terms, self._risk(asked))

    def halted(self, placed: PlacedOrder) -> Refusal | None:
        """Why a state stops even what only takes away from the order."""
        row = self.rows[placed.order_id]
        standings = [standing_of(state) for state in row["states"]]
        return state_refusal(standings, opens=False, by_house=row["by_house"])

    def take(self, asked: RiskedOrder) -> None:
        """The order has passed every gate: the group's later ones find it."""
        placed = asked.placed
        if placed.terms.product is not Product.CNC:
            side, risk = _side(placed), self._risk(asked)
            self.positions[side] = self.positions.get(side, 0) + risk.open_quantity
            self.exposure[placed.user_id] = self.exposure.get(placed.user_id, 0) + risk.added_exposure

    def _risk(self, asked: RiskedOrder) -> Risk:
        placed, leaves = asked.placed, asked.departure
        row, terms = self.rows[placed.order_id], placed.terms
        own = [price for price in (leaves.price, terms.trigger_price) if price is not None]
        return Risk(
            open_price=leaves.margin_price if row["written_at"] is None else row["written_at"],
            close_price=max(own, default=leaves.margin_price),
            lot_size=row["lot_size"],
            open_quantity=0 if reduces(terms, asked.block) else asked.block.open_quantity,
            position=row["position"] + self.positions.get(_side(placed), 0),
            exposure=row["exposure"] + self.exposure.get(placed.user_id, 0),
        )


async def read(conn: Connection, asked: Sequence[RiskedOrder]) -> RiskGate:
    """What the gate needs to know of these orders; their users' ledger rows are locked."""
    found = await conn.execute(_READ.encode(), columns(_row(a.placed, a.departure) for a in asked))
    return RiskGate({row["order_id"]: row for row in await found.fetchall()})


def _row(placed: PlacedOrder, leaves: ExchangeTerms) -> tuple[Any, ...]:
    """With the day on which the order meets the market: one placed after hours is judged by its own day."""
    side, day = placed.terms.side, leaves.day or trade_date(placed.accepted_at_ns)
    return placed.order_id, placed.user_id, placed.terms.instrument_id, side.value, side.sign, day


def _side(placed: PlacedOrder) -> tuple[int, str, str]:
    return placed.user_id, placed.terms.instrument_id, placed.terms.side


def _limits(row: dict[str, Any]) -> RiskLimits:
    if row["exposure_limit"] is None:
        return NOTHING
    return RiskLimits(row["exposure_limit"], row["position_limit"], row["order_value_limit"])
