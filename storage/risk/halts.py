"""The market-wide circuit breaker's halts: each stage once a day, in force as a trading state of all.

Called by the operations worker. Lifted when the exchange announces a phase that is not the halt's own, or
when the rule's auction begins and the exchange does not say otherwise; a halt for the rest of the day ends
with it.
"""

from datetime import date

from domain.events import AlertKind
from domain.market_halts import Halt
from domain.money import rupees
from domain.reports import MarketPhase
from domain.trading_states import Cause, Scope, TradingState
from storage.database import Connection
from storage.risk import risk_alerts, trading_states
from storage.risk.risk_alerts import RiskAlert
from storage.risk.trading_states import RiskAction, StateTarget

ACTOR = "circuit-breaker"
EVERYTHING = StateTarget(Scope.ALL)
_FIRED = "SELECT COALESCE(max(move_percent), 0) AS percent FROM market_halts WHERE trade_date = %s"
_ADD = """
    INSERT INTO market_halts (trade_date, move_percent, index_id, index_value, begins_at_ns, auction_at_ns,
                              reopens_at_ns)
    VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT DO NOTHING RETURNING move_percent
"""
_OVER = """
    SELECT trade_date, h.begins_at_ns, h.auction_at_ns,
           bool_or(m.since_ns > h.begins_at_ns AND m.phase <> %(halted)s) AS reopened,
           bool_or(m.phase = %(halted)s) AS halted
    FROM trading_states s
    CROSS JOIN LATERAL (SELECT * FROM market_halts ORDER BY trade_date DESC, move_percent DESC LIMIT 1) h
    CROSS JOIN market_phases m
    WHERE s.key = 'all' AND s.cause = 'CIRCUIT' AND s.state <> 'ACTIVE'
    GROUP BY 1, 2, 3
"""


async def fired_percent(conn: Connection, day: date) -> int:
    """The highest stage that has fired on the day, 0 for none."""
    row = await (await conn.execute(_FIRED, (day,))).fetchone()
    return int(row["percent"]) if row else 0


async def halt(conn: Connection, day: date, index_id: str, value: int, fired: Halt) -> list[RiskAlert]:
    """Halt everything; nothing when this stage has fired before. Tell after the commit."""
    row = (day, fired.move_percent, index_id, value, fired.begins_ns, fired.auction_ns, fired.reopens_ns)
    if await (await conn.execute(_ADD, row)).fetchone() is None:
        return []
    sentence = f"{index_id} at {rupees(value)} has moved by {fired.move_percent}%: the market is halted."
    word = RiskAction(ACTOR, 0, sentence, at_ns=fired.begins_ns)
    halted = (TradingState.HALTED, Cause.CIRCUIT, word, fired.reopens_ns)
    frozen = await trading_states.freeze(conn, EVERYTHING, *halted)
    alert = RiskAlert(AlertKind.MARKET_HALTED, sentence, detail={"move_percent": fired.move_percent})
    await risk_alerts.record(conn, [alert], ACTOR)
    return [alert, *frozen.alerts]


async def reopen(conn: Connection, day: date, now_ns: int) -> RiskAlert | None:
    """Lift the halt if it is over. Tell after the commit."""
    row = await (await conn.execute(_OVER, {"halted": MarketPhase.HALTED})).fetchone()
    if row is None:
        return None
    auction = row["auction_at_ns"]
    by_rule = auction is not None and now_ns >= auction and not row["halted"]
    if not (row["reopened"] or by_rule or row["trade_date"] < day):
        return None
    sentence = "The exchange has reopened." if row["reopened"] else "The halt is over by its rule."
    await trading_states.unfreeze(conn, EVERYTHING, [Cause.CIRCUIT], RiskAction(ACTOR, 0, sentence))
    alert = RiskAlert(AlertKind.MARKET_REOPENED, sentence)
    await risk_alerts.record(conn, [alert], ACTOR)
    return alert
