"""What the watch counts a position at: shares and futures at their price, options by their side."""

import time

from domain.risk_limits import RiskLimits
from domain.time import trade_date
from storage.database import Database
from storage.risk import exposures, risk_limits
from tests.support.contracts import front_option
from tests.support.desk import A_WORD
from tests.support.orders import new_users

CALL, NIFTY, LOT = f"NSE:{front_option('NIFTY 50', 26_000, 'CE')}", "NSE:NIFTY 50", 65
CLOSE = 25_938_85
"""Of the index, in the master."""


async def exposure(database: Database, sign: int, prices: dict[str, int]) -> int:
    """Of an account that holds one lot of the call, bought or sold for Rs 300 a unit."""
    (user_id,) = await new_users(database, 1)
    bought, sold = (LOT, 0) if sign > 0 else (0, LOT)
    today = trade_date(time.time_ns())
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO positions (user_id, instrument_id, product, buy_quantity, sell_quantity, open_cost)"
            " VALUES (%s, %s, 'NRML', %s, %s, %s)",
            (user_id, CALL, bought, sold, sign * LOT * 300_00),
        )
        await risk_limits.set_limits(conn, user_id, today, RiskLimits(0, 10**6, 10**12), A_WORD)
    found = await exposures.open_positions(database, today)
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM positions WHERE user_id = %s", (user_id,))
    ((value, limit),) = exposures.passed([p for p in found if p.user_id == user_id], prices).values()
    assert limit == 0
    return value


async def test_an_option_bought_counts_at_its_premium_whatever_its_underlying_is_at(
    database: Database,
) -> None:
    assert await exposure(database, +1, {CALL: 320_00, NIFTY: 26_000_00}) == LOT * 320_00
    assert await exposure(database, +1, {NIFTY: 26_000_00}) == LOT * 300_00


async def test_an_option_sold_counts_at_its_underlying_whatever_its_premium_is(database: Database) -> None:
    assert await exposure(database, -1, {CALL: 320_00, NIFTY: 26_000_00}) == LOT * 26_000_00
    assert await exposure(database, -1, {CALL: 320_00}) == LOT * CLOSE
