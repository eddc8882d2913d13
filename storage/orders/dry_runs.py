"""What the books would say to an order, asked without placing it: nothing is written, nothing blocked.

One read-only snapshot of the ledger, which PostgreSQL itself keeps from writing. The block is reckoned by the
plain-Python twin of the margin scripts, then judged by the desk's gate and the accounts' check that a real
order meets (storage/orders/submissions.py). What other orders have blocked in the same instant and not yet
promised is not in it. Called by the API's dry run.
"""

from dataclasses import dataclass

from domain.exchange_terms import ExchangeTerms
from domain.margin import Block, position_key
from domain.margin_book import MarginBook
from domain.orders import PlacedOrder, Product
from domain.rejects import Refusal, RejectCode
from storage.database import Database
from storage.margin.accounts import AccountUnknown, ledger_state
from storage.margin.derivatives import DerivativeMargins
from storage.margin.reservations import Accounts, Reservation, free_shares
from storage.orders import self_trades
from storage.orders.submissions import SubmissionRequest
from storage.risk import risk_gate


@dataclass(frozen=True, slots=True)
class Trial:
    refusals: list[Refusal]
    block: Block | None
    """None: there is no account to block from."""
    portfolio_margin: int = 0
    """Paise that a derivative adds to what its portfolio needs, beside its block."""


async def attempt(
    database: Database, portfolios: DerivativeMargins, placed: PlacedOrder, leaves: ExchangeTerms, unit: int
) -> Trial:
    """Of an order that nobody has placed, at its unit margin in paise."""
    terms, user_id = placed.terms, placed.user_id
    async with database.transaction() as conn:
        await conn.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        try:
            account, net, holds = await ledger_state(conn, user_id)
        except AccountUnknown:
            return Trial([Refusal(RejectCode.ACCOUNT_UNKNOWN)], None)
        book = MarginBook()
        book.load(account, net, holds)
        position, nets = position_key(terms.instrument_id, terms.product), terms.product is not Product.CNC
        block = book.block(placed.order_id, terms.side, position, nets, terms.quantity, unit)
        asked = SubmissionRequest(placed, block, leaves)
        desk = await risk_gate.read(conn, [asked])
        own = (await self_trades.read(conn, [asked])).refusal(asked)
        free = await free_shares(conn, [placed])
        left = account.available - block.required
        promise = (
            await portfolios.preview(conn, placed, left) if portfolios.concern(placed) else Reservation()
        )
    accounts = Accounts({}, {}, {}, {user_id: account.available}, free)
    refusals = [*desk.refusals(asked), *([own] if own else []), *accounts.refusals(placed, block)]
    if promise.refusal is not None and promise.refusal.code not in {refusal.code for refusal in refusals}:
        refusals.append(promise.refusal)
    return Trial(refusals, block, max(0, promise.increase))
