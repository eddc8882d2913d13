"""A user's portfolio as the books have it: ledger, holdings and positions, all of one instant.

The ledger's version grows with every change of any of the three, because whoever writes them writes the
ledger row, too. Figures of the day (bought, sold, realised) count the trades of the trading day; quantity and
cost are carried over from the days before, and what was closed before today is gone. The rules are written
in docs/pnl.md. Read by the API.
"""

from collections.abc import Sequence
from datetime import time

from psycopg.rows import DictRow

from bus.portfolio_frames import Version
from domain.time import ist_ns, trade_date
from storage.database import Database, columns

# One statement, so one snapshot: what a version says of the three tables belongs together.
_LATER = """
    WITH wanted AS (
        SELECT l.* FROM unnest(%(users)s::bigint[], %(versions)s::bigint[]) AS w (user_id, version)
        JOIN margin_ledger l USING (user_id) WHERE l.version > w.version
    ), today AS (
        SELECT user_id, instrument_id, product, sum(t.realized_pnl)::bigint AS realized_pnl,
               (sum(quantity) FILTER (WHERE transaction_type = 'BUY'))::bigint AS buy_quantity,
               (sum(quantity) FILTER (WHERE transaction_type = 'SELL'))::bigint AS sell_quantity,
               (sum(quantity * price) FILTER (WHERE transaction_type = 'BUY'))::bigint AS buy_value,
               (sum(quantity * price) FILTER (WHERE transaction_type = 'SELL'))::bigint AS sell_value
        FROM trades t JOIN wanted USING (user_id) WHERE traded_at_ns >= %(since)s AND undone_by IS NULL
        GROUP BY user_id, instrument_id, product
    ), held AS (
        SELECT h.user_id, jsonb_agg(jsonb_build_object(
            'instrument_id', h.instrument_id, 'quantity', h.quantity, 't1_quantity', t1_quantity,
            'blocked_quantity', blocked_quantity, 'cost', cost, 'realized_pnl', COALESCE(t.realized_pnl, 0)
        ) ORDER BY h.instrument_id) AS holdings
        FROM holdings h JOIN wanted USING (user_id)
        LEFT JOIN today t ON (t.user_id, t.instrument_id, t.product) = (h.user_id, h.instrument_id, 'CNC')
        WHERE h.quantity <> 0 OR t.sell_quantity > 0
        GROUP BY h.user_id
    ), standing AS (
        SELECT p.user_id, jsonb_agg(jsonb_build_object(
            'instrument_id', p.instrument_id, 'product', p.product,
            'net_quantity', p.buy_quantity - p.sell_quantity, 'cost', open_cost, 'margin', margin,
            'buy_quantity', COALESCE(t.buy_quantity, 0), 'sell_quantity', COALESCE(t.sell_quantity, 0),
            'buy_value', COALESCE(t.buy_value, 0), 'sell_value', COALESCE(t.sell_value, 0),
            'realized_pnl', COALESCE(t.realized_pnl, 0)
        ) ORDER BY p.instrument_id, p.product) AS positions
        FROM positions p JOIN wanted USING (user_id)
        LEFT JOIN today t ON (t.user_id, t.instrument_id, t.product)
                           = (p.user_id, p.instrument_id, p.product)
        WHERE p.buy_quantity <> p.sell_quantity OR t.user_id IS NOT NULL
        GROUP BY p.user_id
    )
    SELECT w.*, COALESCE(holdings, '[]') AS holdings, COALESCE(positions, '[]') AS positions
    FROM wanted w LEFT JOIN held USING (user_id) LEFT JOIN standing USING (user_id)
"""


async def later(database: Database, versions: Sequence[Version], now_ns: int) -> list[DictRow]:
    """The ledger rows of those whose version is newer, each with its `holdings` and `positions`."""
    if not versions:
        return []
    users, known = columns((each.user_id, each.version) for each in versions)
    values = {"users": users, "versions": known, "since": ist_ns(trade_date(now_ns), time())}
    async with database.reading() as conn:
        return await (await conn.execute(_LATER, values)).fetchall()


async def read(database: Database, user_id: int, now_ns: int) -> DictRow | None:
    """One user's; None when he has no account."""
    found = await later(database, [Version(user_id, -1)], now_ns)
    return found[0] if found else None
