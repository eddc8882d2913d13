"""An account's derivatives as one portfolio: what is held, what orders may make of it, and what both need.

SPAN and exposure margin belong to the whole, never to one order: an order blocks the increase it causes, a
hedge none. Each exchange and product is a pool of its own: an intraday position is squared off and may not be
the hedge of one that is carried. The premium of options bought is not in here: it belongs to its order
(domain/margin.py). Quantities in units, amounts in paise. Called by storage/margin/derivatives.py, which
reads the portfolio under the ledger's lock. Source: market-rules section 7; ADR 6 for orders at work.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from domain.orders import Product
from domain.portfolio_margin import MarginedPosition, MarginParameters, WorkingOrder, portfolio_margin
from domain.rejects import Refusal, RejectCode
from domain.span import ContractKey

Pool = tuple[str, Product]
"""What is margined together: contracts of one exchange, held under one product."""
RiskRules = Callable[[str], MarginParameters | Refusal]
"""By exchange: the day's parameters, or why there are none."""


@dataclass(frozen=True, slots=True)
class PortfolioMargin:
    used: int
    """What the positions need by themselves."""
    blocked: int
    """What the worst fills of the orders at work need on top."""
    exposure: int
    """Exposure margin, part of the two."""
    files: str
    """The risk files it was reckoned by."""

    @property
    def total(self) -> int:
        return self.used + self.blocked


@dataclass(slots=True)
class DerivativePortfolio:
    """Of one account."""

    held: dict[Pool, list[MarginedPosition]] = field(default_factory=dict)
    working: dict[int, tuple[Pool, WorkingOrder]] = field(default_factory=dict)
    """By order id: what is unfilled."""

    @property
    def empty(self) -> bool:
        return not self.held and not self.working

    def with_order(self, order_id: int, pool: Pool, order: WorkingOrder) -> "DerivativePortfolio":
        """With one more order at work, or an order of other terms."""
        return DerivativePortfolio(self.held, self.working | {order_id: (pool, order)})

    @property
    def pools(self) -> list[Pool]:
        return sorted({*self.held, *(pool for pool, _ in self.working.values())})

    def files(self, rules: RiskRules) -> str | Refusal:
        """The risk files that its margin depends on."""
        names = []
        for exchange in sorted({exchange for exchange, _ in self.pools}):
            params = rules(exchange)
            if isinstance(params, Refusal):
                return params
            names.append(f"{exchange} {params.span.business_date} {params.span.created}")
        return ", ".join(names)

    def margin(self, rules: RiskRules) -> PortfolioMargin | Refusal:
        """The most that any fills can make it need; a refusal when anything in it is not known."""
        used = total = exposure = 0
        files = self.files(rules)
        if isinstance(files, Refusal):
            return files
        for pool in self.pools:
            params = rules(pool[0])
            if isinstance(params, Refusal):
                return params
            held = self.held.get(pool, [])
            orders = [order for at, order in self.working.values() if at == pool]
            unknown = _not_listed(params, {*_contracts(held), *_contracts(orders)})
            if unknown is not None:
                return unknown
            now = portfolio_margin(held, params)
            worst = portfolio_margin(held, params, orders) if orders else now
            if now is None or worst is None:
                return Refusal(RejectCode.MARGIN_UNKNOWN, "instrument_id")
            used += now.span + now.exposure
            total += worst.span + worst.exposure
            exposure += worst.exposure
        # Of many credits between commodities, an order that takes one away may make room for a larger.
        return PortfolioMargin(used, max(0, total - used), exposure, files)


def _contracts(rows: Iterable[MarginedPosition | WorkingOrder]) -> set[ContractKey]:
    return {row.contract for row in rows}


def _not_listed(params: MarginParameters, contracts: set[ContractKey]) -> Refusal | None:
    """A contract that the file does not know, or of which one is not one unit."""
    for key in sorted(contracts, key=str):
        contract = params.span.contracts.get(key)
        if contract is None or contract.multiplier != 1:
            return Refusal(RejectCode.CONTRACT_NOT_MARGINED, "instrument_id", str(key))
    return None
