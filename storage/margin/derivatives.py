"""The margin of derivatives in the books: reckoned from the whole portfolio, under its ledger row's lock.

Whoever changes what an account's derivatives are (a submit, a change, a booking) has that row locked, reads
the portfolio here, and writes two figures of the ledger that are absolute: no sum of single orders can drift
from what the portfolio needs. The margin view follows inside the lock, by a version that only grows; a
promise is refused where the view does not cover it either (cash orders are blocked there first). What comes
to nothing, a promise or the transaction, does not stay in the view. ADR 12.
"""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog

from domain.instruments import Instrument
from domain.margin import ResizeOutcome
from domain.money import rupees
from domain.orders import OrderTerms, PlacedOrder, Product, Side
from domain.portfolio_margin import MarginedPosition, WorkingOrder
from domain.portfolios import DerivativePortfolio, PortfolioMargin, RiskRules
from domain.rejects import Refusal, RejectCode
from domain.span import ContractKey, ContractKind, contract_key
from storage.database import Connection, columns
from storage.margin.reservations import Reservation
from storage.margin.view import MarginView, RemarginStep

log = structlog.get_logger()
_LEDGERS = """
    SELECT user_id, generation, portfolio_used AS used, portfolio_blocked AS blocked,
           exposure_margin AS exposure, COALESCE(margined_by, '') AS files,
           {version} AS version
    FROM margin_ledger WHERE user_id = ANY(%s)
"""
_HELD = """
    SELECT user_id, instrument_id, product, buy_quantity - sell_quantity AS quantity
    FROM positions JOIN instruments USING (instrument_id)
    WHERE user_id = ANY(%s) AND segment = 'FO' AND buy_quantity <> sell_quantity
"""
_WORKING = """
    SELECT user_id, order_id, instrument_id, product, transaction_type,
           open_quantity + close_quantity AS quantity
    FROM margin_holds JOIN instruments USING (instrument_id)
    WHERE user_id = ANY(%s) AND segment = 'FO' AND state = 'BLOCKED'
"""
_WRITE = """
    UPDATE margin_ledger l SET blocked_margin = blocked_margin + w.blocked - portfolio_blocked,
        used_margin = used_margin + w.used - portfolio_used, portfolio_blocked = w.blocked,
        portfolio_used = w.used, exposure_margin = w.exposure, portfolio_version = w.version,
        margined_by = NULLIF(w.files, ''), updated_at_ns = w.at
    FROM unnest(%s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::text[],
                %s::bigint[])
        AS w (user_id, blocked, used, exposure, version, files, at)
    WHERE l.user_id = w.user_id
"""


@dataclass(slots=True)
class Margined:
    generation: int
    version: int
    ledger: PortfolioMargin
    """As the ledger has it."""
    stands: PortfolioMargin
    """As it is to be written."""
    shown: PortfolioMargin
    """As this transaction has left it in the view, or may have."""
    portfolio: DerivativePortfolio = field(default_factory=DerivativePortfolio)


class DerivativeMargins:
    """One for a process; `rules` are asked anew each time."""

    def __init__(self, view: MarginView, instruments: Mapping[str, Instrument], rules: RiskRules) -> None:
        keys = {row.instrument_id: contract_key(row) for row in instruments.values()}
        self.contracts = {instrument_id: key for instrument_id, key in keys.items() if key is not None}
        self.view, self.rules = view, rules

    def concern(self, placed: PlacedOrder) -> bool:
        """Whether the order is one in a derivative."""
        return placed.terms.instrument_id in self.contracts

    def unusable(self, terms: OrderTerms) -> Refusal | None:
        """Why an order in this derivative cannot be margined, whatever its account holds; None for shares."""
        contract = self.contracts.get(terms.instrument_id)
        if contract is None:
            return None
        params = self.rules(terms.exchange)
        if isinstance(params, Refusal):
            return params
        listed = contract in params.span.contracts
        return None if listed else Refusal(RejectCode.CONTRACT_NOT_MARGINED, "instrument_id", str(contract))

    def contract(self, instrument_id: str) -> ContractKey:
        # No file lists what the master does not know: its portfolio is refused.
        return self.contracts.get(instrument_id, ContractKey(instrument_id, ContractKind.FUTURE))

    async def locked(self, conn: Connection, user_ids: Collection[int]) -> "LockedDerivatives":
        """Read the derivatives of accounts whose ledger rows the caller has locked."""
        locked = await self._read(conn, user_ids, "nextval('portfolio_versions')")
        conn.after_rollback.append(locked.withdraw)
        return locked

    async def preview(self, conn: Connection, placed: PlacedOrder, available: int) -> Reservation:
        """What `promise` would answer if the view agreed with the ledger; nothing is promised."""
        seen = await self._read(conn, [placed.user_id], "0")
        return seen.weigh(placed, available - sum(seen.turn().values()))

    async def _read(self, conn: Connection, user_ids: Collection[int], version: str) -> "LockedDerivatives":
        accounts: dict[int, Margined] = {}
        if user_ids:
            users, ledgers = (sorted(user_ids),), _LEDGERS.format(version=version)
            found = [await conn.execute(q.encode(), users) for q in (ledgers, _HELD, _WORKING)]
            for row in await found[0].fetchall():
                user_id, generation, number = (row.pop(n) for n in ("user_id", "generation", "version"))
                figures = PortfolioMargin(**row)
                accounts[user_id] = Margined(generation, number, figures, figures, figures)
            for row in await found[1].fetchall():
                position = MarginedPosition(self.contract(row["instrument_id"]), row["quantity"])
                accounts[row["user_id"]].portfolio.held.setdefault(_pool(row), []).append(position)
            for row in await found[2].fetchall():
                contract, side = self.contract(row["instrument_id"]), Side(row["transaction_type"])
                order = WorkingOrder(contract, side, row["quantity"], 0)
                accounts[row["user_id"]].portfolio.working[row["order_id"]] = _pool(row), order
        return LockedDerivatives(self, accounts)

    async def remargin(self, conn: Connection, user_ids: Collection[int]) -> list[int]:
        """Reckon accounts anew after their portfolios have changed; users whose margin is another now.

        What cannot be reckoned keeps its margin: fills and cancels never make a portfolio need more.
        """
        locked = await self.locked(conn, user_ids)
        locked.reckon()
        return await locked.write(conn)


@dataclass(slots=True)
class LockedDerivatives:
    """Of a transaction that has locked their ledger rows; nothing is in the ledger before `write`."""

    _of: DerivativeMargins
    _accounts: dict[int, Margined]

    def reckon(self) -> list["Margined"]:
        """Every account, from its whole portfolio; those that come out otherwise by the same files."""
        changed = []
        for account in self._accounts.values():
            before, margin = account.stands, account.portfolio.margin(self._of.rules)
            account.stands = replace(before, files="") if isinstance(margin, Refusal) else margin
            if account.stands != before and account.stands.files == before.files:
                changed.append(account)
        return changed

    def turn(self) -> dict[int, int]:
        """Margin again what another risk file has margined (or none), so that no order pays for the new file.

        By how much more or less each such account is bound, in paise.
        """
        more: dict[int, int] = {}
        for user_id, account in self._accounts.items():
            if account.portfolio.files(self._of.rules) != account.ledger.files:
                margin = account.portfolio.margin(self._of.rules)
                if not isinstance(margin, Refusal):
                    account.stands = margin
                    more[user_id] = margin.total - account.ledger.total
        return more

    def weigh(self, placed: PlacedOrder, available: int) -> Reservation:
        """Whether the `available` of the ledger covers what the order adds."""
        margin = self._with(placed, placed.terms.quantity).margin(self._of.rules)
        return self._covered(placed.user_id, margin, available)

    async def promise(self, placed: PlacedOrder, quantity: int, available: int) -> Reservation:
        """Bind what an order adds with `quantity` at work, in place of what it has at work already.

        Refused where the `available` of the ledger or the view's does not cover it.
        """
        account, portfolio = self._accounts[placed.user_id], self._with(placed, quantity)
        margin = portfolio.margin(self._of.rules)
        promise = self._covered(placed.user_id, margin, available)
        if isinstance(margin, Refusal) or promise.refusal is not None:
            return promise
        if margin == account.stands:
            account.portfolio = portfolio
            return promise
        shown = account.shown
        if account.stands != shown:
            await self._show({placed.user_id: account})
        # Before the answer: one that is lost may have been a yes.
        account.shown = margin
        outcome, seen = await self._of.view.remargin(_step(placed.user_id, account, margin))
        if outcome is not ResizeOutcome.RESIZED:
            await self._show({placed.user_id: account}, shown)
            return Reservation(stale=True) if outcome is ResizeOutcome.VOID else _insufficient(seen)
        account.portfolio, account.stands = portfolio, margin
        return promise

    async def _show(self, accounts: dict[int, Margined], figures: PortfolioMargin | None = None) -> None:
        """Give the view what stands, or these figures in its place."""
        steps = []
        for user_id, account in accounts.items():
            account.shown = figures or account.stands
            steps.append(_step(user_id, account, account.shown))
        await self._of.view.follow(steps)

    def _with(self, placed: PlacedOrder, quantity: int) -> DerivativePortfolio:
        terms = placed.terms
        order = WorkingOrder(self._of.contract(terms.instrument_id), terms.side, quantity, 0)
        pool = terms.exchange, terms.product
        return self._accounts[placed.user_id].portfolio.with_order(placed.order_id, pool, order)

    def _covered(self, user_id: int, margin: PortfolioMargin | Refusal, available: int) -> Reservation:
        if isinstance(margin, Refusal):
            return Reservation(refusal=margin)
        increase = margin.total - self._accounts[user_id].stands.total
        return _insufficient(available, increase) if increase > max(available, 0) else Reservation(increase)

    async def take_back(self, user_id: int) -> None:
        """The view as the ledger has it: what was promised in this transaction is not to be."""
        account = self._accounts[user_id]
        account.stands = account.ledger
        await self._show({user_id: account})

    async def withdraw(self) -> None:
        """After a rollback: the view of who was shown what the ledger does not have is built anew from it.

        Whether the ledger has it is not known when a commit failed; the ledger's lock will tell.
        """
        ahead = [user_id for user_id, account in self._accounts.items() if account.shown != account.ledger]
        await self._of.view.renew(ahead)

    async def write(self, conn: Connection) -> list[int]:
        """Into the ledger and the view; users whose figures are others than before."""
        now = time.time_ns()
        changed = {
            user: account for user, account in self._accounts.items() if account.stands != account.ledger
        }
        if changed:
            await conn.execute(_WRITE, columns(_row(user, account, now) for user, account in changed.items()))
            await self._show(changed)
        return list(changed)


def _insufficient(available: int, increase: int = 0) -> Reservation:
    return Reservation(increase, Refusal(RejectCode.MARGIN_INSUFFICIENT, "quantity", rupees(available)))


def _pool(row: dict[str, Any]) -> tuple[str, Product]:
    return row["instrument_id"].partition(":")[0], Product(row["product"])


def _step(user_id: int, account: Margined, figures: PortfolioMargin) -> RemarginStep:
    return RemarginStep(user_id, figures.blocked, figures.used, account.version, account.generation)


def _row(user_id: int, account: Margined, now: int) -> tuple[Any, ...]:
    stands = account.stands
    return user_id, stands.blocked, stands.used, stands.exposure, account.version, stands.files, now
