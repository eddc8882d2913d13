"""The hold of an order that is changed: margin and shares promised in view and ledger, then written.

Decided under the ledger row's lock, on what is read under it, and asked of the margin view as well, so that
what other orders have blocked there counts. Nothing stays in the view when the transaction is rolled back.
Called by storage/orders/changes.py.
"""

import time
from dataclasses import dataclass
from typing import Any

from domain.margin import Hold, ResizeOutcome
from domain.money import rupees
from domain.orders import PlacedOrder
from domain.rejects import Refusal, RejectCode
from storage.database import Connection
from storage.margin.accounts import PendingChange, hold_of
from storage.margin.derivatives import DerivativeMargins, LockedDerivatives
from storage.margin.reservations import sells_holdings
from storage.margin.view import ResizeStep

_HOLD = """
    SELECT h.*, generation FROM margin_holds h JOIN margin_ledger USING (user_id)
    WHERE order_id = %s AND state = 'BLOCKED'
"""
_LEDGER = "SELECT generation, available_cash FROM margin_ledger WHERE user_id = %s"
_FREE_SHARES = """
    SELECT quantity - blocked_quantity AS free FROM holdings WHERE user_id = %s AND instrument_id = %s
"""
_WRITE_SHARES = """
    UPDATE holdings SET blocked_quantity = blocked_quantity + %s WHERE user_id = %s AND instrument_id = %s
"""
_WRITE_HOLD = """
    UPDATE margin_holds SET unit_margin = %(unit)s, open_quantity = %(open)s, close_quantity = %(close)s,
        change_id = %(change_id)s, changed_unit = %(changed)s, kept_unit = %(kept)s,
        margin_price = GREATEST(margin_price, %(price)s)
    WHERE order_id = %(order_id)s
"""
_WRITE_LEDGER = """
    UPDATE margin_ledger SET blocked_margin = blocked_margin + %s, updated_at_ns = %s WHERE user_id = %s
"""


@dataclass(frozen=True, slots=True)
class HoldChange:
    """Promised when there is neither a refusal nor staleness."""

    derivatives: LockedDerivatives | None = None
    """To be written with it."""
    refusal: Refusal | None = None
    stale: bool = False
    """The margin view is of another generation."""

    @property
    def is_kept(self) -> bool:
        return self.refusal is None and not self.stale


async def promise(
    conn: Connection, portfolios: DerivativeMargins, placed: PlacedOrder, hold: Hold, to: Hold, filled: int
) -> HoldChange:
    """Promise margin and shares for the hold as it is to be, in the view too. What a refusal tells is of the
    whole order, with what it has already."""
    derivative = portfolios.concern(placed)
    derivatives = await portfolios.locked(conn, [placed.user_id] if derivative else [])
    ledger = await (await conn.execute(_LEDGER, (placed.user_id,))).fetchone()
    assert ledger is not None
    available = ledger["available_cash"] - sum(derivatives.turn().values())
    more = to.blocked - hold.blocked
    if more > 0 and more > max(available, 0):
        return HoldChange(refusal=_insufficient(available + hold.blocked))
    if (missing := await _missing_shares(conn, placed, hold, to, filled)) is not None:
        return HoldChange(refusal=missing)
    if derivative:
        promised = await derivatives.promise(placed, _shares(to), available - more)
        if not promised.is_kept:
            return HoldChange(refusal=promised.refusal, stale=promised.stale)
    conn.after_rollback.append(lambda: portfolios.view.renew([placed.user_id]))
    step = ResizeStep(placed.user_id, placed.order_id, to, ledger["generation"])
    outcome, available = await portfolios.view.resize(step)
    if outcome is ResizeOutcome.RESIZED:
        return HoldChange(derivatives)
    if derivative:
        await derivatives.take_back(placed.user_id)
    void = outcome is ResizeOutcome.VOID
    return HoldChange(stale=True) if void else HoldChange(refusal=_insufficient(available + hold.blocked))


async def write(
    conn: Connection,
    placed: PlacedOrder,
    hold: Hold,
    to: Hold,
    pending: PendingChange | None,
    margin_price: int,
) -> None:
    """Write the hold; `pending` is the change that the exchange is asked for, if it is asked."""
    values: dict[str, Any] = {"unit": to.unit_margin, "open": to.open_quantity, "close": to.close_quantity}
    values |= {
        "change_id": pending.cl_ord_id if pending else None,
        "changed": pending.changed_unit if pending else None,
        "kept": pending.kept_unit if pending else None,
        "price": margin_price,
        "order_id": placed.order_id,
    }
    await conn.execute(_WRITE_HOLD, values)
    await conn.execute(_WRITE_LEDGER, (to.blocked - hold.blocked, time.time_ns(), placed.user_id))
    if sells_holdings(placed) and (shares := _shares(to) - _shares(hold)):
        await conn.execute(_WRITE_SHARES, (shares, placed.user_id, placed.terms.instrument_id))


async def restore(conn: Connection, portfolios: DerivativeMargins, placed: PlacedOrder) -> None:
    """Show the view the hold as the ledger has it: an earlier run of a change that is refused now may have
    died between view and commit."""
    found = await (await conn.execute(_HOLD, (placed.order_id,))).fetchone()
    if found is None:
        return
    step = ResizeStep(placed.user_id, placed.order_id, hold_of(found), found["generation"])
    await portfolios.view.follow([step])
    if portfolios.concern(placed):
        derivatives = await portfolios.locked(conn, [placed.user_id])
        await derivatives.take_back(placed.user_id)


async def _missing_shares(
    conn: Connection, placed: PlacedOrder, hold: Hold, to: Hold, filled: int
) -> Refusal | None:
    """Why a delivery sale may not be of so many more shares."""
    more = _shares(to) - _shares(hold)
    if not sells_holdings(placed) or more <= 0:
        return None
    found = await conn.execute(_FREE_SHARES, (placed.user_id, placed.terms.instrument_id))
    row = await found.fetchone()
    free = max(row["free"], 0) if row is not None else 0
    most = str(filled + _shares(hold) + free)
    return None if free >= more else Refusal(RejectCode.HOLDINGS_INSUFFICIENT, "quantity", most, most)


def _shares(hold: Hold) -> int:
    return hold.open_quantity + hold.close_quantity


def _insufficient(available: int) -> Refusal:
    return Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(available))
