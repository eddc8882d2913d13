"""Books of a user as a test wants them: an account, trades booked into holdings and positions."""

import time
from itertools import count

from psycopg.rows import DictRow

from domain.orders import Product, Side
from domain.positions import Holding, Position
from storage.database import Connection, Database
from tests.support.orders import new_users

DAY_NS = 86_400_000_000_000
_numbers = count(time.time_ns())


async def an_account(database: Database, cash: int = 1_000_000_00) -> int:
    """A new user's id."""
    (user_id,) = await new_users(database, 1)
    async with database.transaction() as conn:
        await conn.execute(
            "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, 1)", (user_id, cash)
        )
    return user_id


async def book(
    database: Database,
    user_id: int,
    product: Product,
    side: Side,
    quantity: int,
    price: int,
    *,
    instrument_id: str = "NSE:RELIANCE",
    days_ago: int = 0,
) -> None:
    """One trade as the booking writes it: trade, holding or position, and the ledger row, in one commit."""
    async with database.transaction() as conn:
        await conn.execute("SELECT FROM margin_ledger WHERE user_id = %s FOR UPDATE", (user_id,))
        write = _book_holding if product is Product.CNC else _book_position
        realized = await write(conn, user_id, instrument_id, product, side, quantity, price)
        now, number = time.time_ns(), next(_numbers)
        await conn.execute(
            "INSERT INTO trades (exchange, exec_id, order_id, user_id, instrument_id, transaction_type,"
            " product, quantity, price, realized_pnl, unit_margin, exchange_order_id, traded_at_ns,"
            " booked_at_ns)"
            " VALUES ('NSE', %s, %s, %s, %s, %s, %s, %s, %s, %s, 0, 'x', %s, %s)",
            (
                *(str(number), number, user_id, instrument_id, side, product, quantity, price, realized),
                *(now - days_ago * DAY_NS, now),
            ),
        )
        await conn.execute("UPDATE margin_ledger SET updated_at_ns = %s WHERE user_id = %s", (now, user_id))


async def _book_holding(
    conn: Connection, user_id: int, instrument_id: str, _: Product, side: Side, quantity: int, price: int
) -> int:
    row = await _row(conn, "quantity, t1_quantity, cost", "holdings", (user_id, instrument_id))
    before = Holding(**row, blocked_quantity=0 if side is Side.BUY else quantity)
    bought = side is Side.BUY
    after, realized = before.bought(quantity, price) if bought else before.sold(quantity, price, quantity)
    await conn.execute(
        "INSERT INTO holdings VALUES (%s, %s, %s, %s, 0, %s) ON CONFLICT (user_id, instrument_id) DO UPDATE"
        " SET quantity = excluded.quantity, t1_quantity = excluded.t1_quantity, cost = excluded.cost",
        (user_id, instrument_id, after.quantity, after.t1_quantity, after.cost),
    )
    return realized


async def _book_position(
    conn: Connection,
    user_id: int,
    instrument_id: str,
    product: Product,
    side: Side,
    quantity: int,
    price: int,
) -> int:
    names = "buy_quantity, sell_quantity, buy_value, sell_value, open_cost, realized_pnl"
    before = Position(**await _row(conn, names, "positions", (user_id, instrument_id), product))
    after = before.traded(side, quantity, price)
    await conn.execute(
        "DELETE FROM positions WHERE (user_id, instrument_id, product) = (%s, %s, %s)",
        (user_id, instrument_id, product),
    )
    await conn.execute(
        f"INSERT INTO positions (user_id, instrument_id, product, {names})"
        " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s)",
        (user_id, instrument_id, product, *(getattr(after, name) for name in names.split(", "))),
    )
    return after.realized_pnl - before.realized_pnl


async def _row(
    conn: Connection, names: str, table: str, key: tuple[int, str], product: Product | None = None
) -> DictRow:
    query = f"SELECT {names} FROM {table} WHERE (user_id, instrument_id) = (%s, %s)"
    of_product = " AND product = %s" if product else ""
    found = await conn.execute((query + of_product).encode(), (*key, product) if product else key)
    return await found.fetchone() or {}
