"""What a fresh database holds before its first order: the instrument master, the days' partitions, and in the
embedded default the demo accounts.

Running it again changes nothing: rows that are there stay as they are. The demo cash enters by a movement
in the ledger (bank to client), so the books balance from the first row. Called by `hundi seed` and `up`.
"""

import time
from typing import Any

from argon2 import PasswordHasher

from config.rules import house_limits
from config.tokens import Role
from domain.money import PAISE_PER_RUPEE
from domain.time import trade_date
from storage.database import Connection, Database
from storage.market import market_day
from storage.risk import risk_limits

DEMO_CLIENTS = [f"DEMO{number:04d}" for number in range(1, 101)]
DEMO_PASSWORD = "demo"
DEMO_CASH = 10_00_000 * PAISE_PER_RUPEE
STAFF = {"RISK01": Role.RISK, "RISK02": Role.RISK, "SUPPORT01": Role.SUPPORT, "COMPLY01": Role.COMPLIANCE}
# Quantity and how often: every client, every second, every third.
DEMO_HOLDINGS = {
    "NSE:RELIANCE": (100, 1),
    "NSE:TCS": (50, 1),
    "NSE:SBIN": (200, 1),
    "NSE:NIFTYBEES": (500, 2),
    "NSE:INFY": (100, 3),
}

_USER = """
    INSERT INTO users (client_id, full_name, password_hash, role, created_at_ns)
    VALUES (%s, %s, %s, %s, %s) ON CONFLICT (client_id) DO NOTHING RETURNING user_id
"""
_POSTING = "INSERT INTO ledger_postings (movement, account, amount, posted_at_ns) VALUES (%s, %s, %s, %s)"
_HOLDING = """
    INSERT INTO holdings (user_id, instrument_id, quantity, cost)
    SELECT %s, instrument_id, %s, %s * previous_close FROM instruments WHERE instrument_id = %s
"""


async def seed(database: Database, *, demo_accounts: bool) -> None:
    """One transaction: today's master and partitions, house limits, demo accounts if wanted."""
    async with database.transaction() as conn:
        # Two seeds at once: the second waits, and finds everything there.
        await conn.execute("SELECT pg_advisory_xact_lock(hashtext('seed'))")
        await market_day.prepare(conn, trade_date(time.time_ns()))
        await risk_limits.add_house_limits(conn, house_limits())
        if demo_accounts:
            await _add_demo_accounts(conn)


async def _add_demo_accounts(conn: Connection) -> None:
    # One hash serves all: their password is public anyway, and start-up stays quick.
    password_hash = PasswordHasher().hash(DEMO_PASSWORD)
    now = time.time_ns()
    for number, client_id in enumerate(DEMO_CLIENTS, start=1):
        name = f"Demo Client {number}"
        user_id = await _add_user(conn, (client_id, name, password_hash, Role.CLIENT, now))
        if user_id is not None:
            await _deposit(conn, client_id, user_id, now)
            await _hold(conn, number, user_id)
    for client_id, role in STAFF.items():
        await _add_user(conn, (client_id, f"{role.title()} Desk", password_hash, role, now))


async def _add_user(conn: Connection, row: tuple[Any, ...]) -> int | None:
    """The new user's id, None when the client was there before."""
    added = await (await conn.execute(_USER, row)).fetchone()
    if added is None:
        return None
    user_id: int = added["user_id"]
    await conn.execute("INSERT INTO update_sequences (user_id) VALUES (%s)", [user_id])
    return user_id


async def _deposit(conn: Connection, client_id: str, user_id: int, now: int) -> None:
    movement = f"deposit:{client_id}:opening"
    await conn.execute(_POSTING, [movement, "bank", -DEMO_CASH, now])
    await conn.execute(_POSTING, [movement, f"cash:{user_id}", DEMO_CASH, now])
    await conn.execute(
        "INSERT INTO margin_ledger (user_id, cash, updated_at_ns) VALUES (%s, %s, %s)",
        [user_id, DEMO_CASH, now],
    )


async def _hold(conn: Connection, number: int, user_id: int) -> None:
    for instrument_id, (quantity, every) in DEMO_HOLDINGS.items():
        if number % every == 0:
            await conn.execute(_HOLDING, [user_id, quantity, quantity, instrument_id])
