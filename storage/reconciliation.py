"""The margin view held against the ledger, and the ledger against itself.

A view differs rightly by what is blocked for orders that are not submitted yet; a drift is a difference that
stays. First all accounts at a glance, then those that differ under their ledger row's lock, so that no submit
or booking falls between the two readings. A drifted view is rebuilt; the books are never mended here. Called
by activities/reconciliation.py. Derivatives are margined again where the risk file has changed.
"""

import asyncio
from dataclasses import dataclass, replace

from redis.asyncio import Redis

from domain.margin import Account, BlockOutcome
from domain.money import rupees
from storage.database import Connection, Database
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView

LOOKS, LOOK_SECONDS = 4, 0.15
"""A difference is looked at so often; one that an order on its way explains does not stay."""
PORTFOLIOS_AT_ONCE = 1_000
"""Reckoned in one pass: some seconds."""

_LEDGERS = """
    SELECT user_id, cash, realized_pnl, blocked_margin AS blocked, used_margin AS used, generation,
           portfolio_blocked, portfolio_used, portfolio_version
    FROM margin_ledger WHERE generation > 0 AND (%(only)s::bigint[] IS NULL OR user_id = ANY(%(only)s))
    ORDER BY user_id
"""
_PENDING = "SELECT order_id FROM orders WHERE user_id = %s AND status = 'PENDING_VALIDATION'"
_UNHELD = """
    SELECT l.user_id, l.blocked_margin - l.portfolio_blocked AS blocked, COALESCE(h.held, 0)::bigint AS held
    FROM margin_ledger l LEFT JOIN (
        SELECT user_id, sum(open_quantity * unit_margin) AS held FROM margin_holds
        WHERE state = 'BLOCKED' GROUP BY user_id) h USING (user_id)
    WHERE l.blocked_margin - l.portfolio_blocked <> COALESCE(h.held, 0)
"""
_WITH_DERIVATIVES = """
    SELECT user_id FROM (
        SELECT user_id FROM margin_ledger
        WHERE portfolio_blocked + portfolio_used > 0 OR margined_by IS NOT NULL
        UNION SELECT user_id FROM positions JOIN instruments USING (instrument_id)
        WHERE segment = 'FO' AND buy_quantity <> sell_quantity
        UNION SELECT user_id FROM margin_holds JOIN instruments USING (instrument_id)
        WHERE segment = 'FO' AND state = 'BLOCKED') d
    WHERE user_id > %s ORDER BY user_id LIMIT %s
"""
_LOCK_LEDGER = "SELECT FROM margin_ledger WHERE user_id = %s FOR UPDATE"
_UNBALANCED = """
    SELECT movement, sum(amount)::bigint AS amount FROM ledger_postings
    WHERE movement IN (SELECT movement FROM ledger_postings
                       WHERE posting_id > (SELECT COALESCE(max(posting_id), 0) - 20000 FROM ledger_postings))
    GROUP BY movement HAVING sum(amount) <> 0
"""


@dataclass(frozen=True, slots=True)
class Remargined:
    """What a look at portfolios found."""

    turned: int
    """Of these, another risk file has given so many another margin."""
    wrong: list[tuple[int, str]]
    """Accounts whose margin was not what their portfolio needs by the file it names, and how."""
    last: int
    """The last account looked at; 0 when there are no further ones."""


@dataclass(frozen=True, slots=True)
class Drift:
    """By how much an account's view was wrong, in paise; what the view says less what it should."""

    user_id: int
    available: int
    blocked: int
    used: int
    cash: int

    @property
    def amount(self) -> int:
        """The largest difference of any part: errors that cancel out are errors."""
        return max(abs(self.available), abs(self.blocked), abs(self.used), abs(self.cash))

    @property
    def sentence(self) -> str:
        parts = {"available": self.available, "blocked": self.blocked, "used": self.used, "cash": self.cash}
        told = ", ".join(f"{name} by Rs {rupees(amount)}" for name, amount in parts.items() if amount)
        return f"The margin view differed from the ledger: {told or 'of another generation'}. Rebuilt."


async def accounts(database: Database, redis: Redis) -> tuple[int, list[int]]:
    """How many accounts have a ledger in use, and which views differ from it at a glance."""
    async with database.reading() as conn:
        ledgers = await (await conn.execute(_LEDGERS, {"only": None})).fetchall()
    views = await MarginView(redis, database).accounts([row["user_id"] for row in ledgers])
    pairs = zip(ledgers, views, strict=True)
    return len(ledgers), [
        row["user_id"] for row, v in pairs if v is not None and not _agrees(v, _account(row))
    ]


async def mend(database: Database, redis: Redis, user_id: int) -> Drift | None:
    """The drift that stays, its view rebuilt; None when an order on its way explains the difference."""
    drift = None
    for look in range(LOOKS):
        if look:
            await asyncio.sleep(LOOK_SECONDS)
        async with database.transaction() as conn:
            seen = await _difference(conn, redis, database, user_id)
        if seen is None or (drift is not None and seen != drift):
            return None
        drift = seen
    await MarginView(redis, database).rebuild(user_id)
    return drift


async def broken_books(database: Database) -> list[tuple[int, str]]:
    """Accounts (0: none) and what does not hold: blocked is the sum of holds, movements sum to zero."""
    async with database.reading() as conn:
        unheld = await (await conn.execute(_UNHELD)).fetchall()
        unbalanced = await (await conn.execute(_UNBALANCED)).fetchall()
    told = [
        (
            row["user_id"],
            f"Blocked are Rs {rupees(row['blocked'])}, the holds come to Rs {rupees(row['held'])}.",
        )
        for row in unheld
    ]
    sums = [(0, f"{row['movement']} sums to Rs {rupees(row['amount'])}, not zero.") for row in unbalanced]
    return told + sums


async def remargin(database: Database, portfolios: DerivativeMargins, after: int = 0) -> Remargined:
    """Reckon the next PORTFOLIOS_AT_ONCE accounts with derivatives from scratch, and put them right."""
    async with database.reading() as conn:
        rows = await (await conn.execute(_WITH_DERIVATIVES, (after, PORTFOLIOS_AT_ONCE))).fetchall()
    turned, wrong = 0, []
    for user_id in (row["user_id"] for row in rows):
        async with database.transaction() as conn:
            await conn.execute(_LOCK_LEDGER, (user_id,))
            locked = await portfolios.locked(conn, [user_id])
            turned += len(locked.turn())
            for off in locked.reckon():
                bound, needed = rupees(off.ledger.total), rupees(off.stands.total)
                told = f"Rs {bound} are bound for derivatives that need Rs {needed} by {off.stands.files}."
                wrong.append((user_id, told))
            await locked.write(conn)
    return Remargined(turned, wrong, rows[-1]["user_id"] if len(rows) == PORTFOLIOS_AT_ONCE else 0)


async def _difference(conn: Connection, redis: Redis, database: Database, user_id: int) -> Drift | None:
    locked = await conn.execute(f"{_LEDGERS} FOR UPDATE".encode(), {"only": [user_id]})
    row = await locked.fetchone()
    pending = [r["order_id"] for r in await (await conn.execute(_PENDING, (user_id,))).fetchall()]
    book = MarginView(redis, database)
    view = await book.account(user_id)
    if row is None or view is None:
        return None
    should = _account(row)
    holds = await book.blocks(user_id, pending)
    on_the_way = sum(h.required for h in holds if h.outcome is BlockOutcome.BLOCKED)
    should = replace(should, blocked=should.blocked + on_the_way)
    if _agrees(view, should):
        return None
    return Drift(
        user_id,
        view.available - should.available,
        view.blocked - should.blocked,
        view.used - should.used,
        view.cash + view.realized_pnl - should.cash - should.realized_pnl,
    )


def _agrees(view: Account, should: Account) -> bool:
    """A transaction that was rolled back may have left its version in the view, and no other trace."""
    return replace(view, portfolio_version=should.portfolio_version) == should


def _account(row: dict[str, int]) -> Account:
    return Account(**{name: row[name] for name in Account.__slots__})
