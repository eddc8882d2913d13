"""What must hold after every step, reckoned from the rows and from what the exchange really has.

Most rules hold at every moment. The view follows the ledger unless a process has died between the two and has
not run its step again; the last rules hold when, besides, everything that is journaled is booked: then the
books must be exactly what the exchange knows.
"""

from collections.abc import Callable, Iterator

from domain.orders import Product, Side
from domain.portfolio_margin import MarginedPosition, WorkingOrder
from domain.portfolios import DerivativePortfolio, PortfolioMargin
from tests.support.interleavings.account import PARAMETERS, Account
from tests.support.interleavings.exchange import AtExchange
from tests.support.interleavings.scenario import Scenario
from tests.support.interleavings.snapshots import Row, is_due
from tests.support.interleavings.state import State, to_be_booked


class Facts:
    """Of one state; rows by order id."""

    def __init__(self, at: State, account: Account, scenario: Scenario) -> None:
        self.at, self.account, self.scenario = at, account, scenario
        self.orders = {r["order_id"]: r for r in at.saved.rows("orders")}
        self.holds = {r["order_id"]: r for r in at.saved.rows("margin_holds")}
        self.outbox, self.inbox = at.saved.rows("exchange_outbox"), at.saved.rows("exchange_inbox")
        self.ledger = at.saved.rows("margin_ledger")[0]
        self.holding = next(iter(at.saved.rows("holdings")), {"quantity": 0, "blocked_quantity": 0})
        self.position = next(iter(at.saved.rows("positions")), None)
        self.names = {order.order_id: name for name, order in account.orders.items()}

    @property
    def net(self) -> int:
        return self.position["buy_quantity"] - self.position["sell_quantity"] if self.position else 0

    @property
    def surprised(self) -> bool:
        """No gate stands before what the exchange trades beyond an order."""
        return any(order.surprised for order in self.at.memory.exchange.values())

    def traded(self, side: Side) -> int:
        """At the exchange."""
        return sum(o.filled for o in self.at.memory.exchange.values() if o.side is side)

    def unit(self, price: int, name: str) -> int:
        return self.account.unit(self.account.orders[name], price)


Rule = Callable[[Facts], Iterator[str]]


def _blocked_is_what_the_holds_come_to(f: Facts) -> Iterator[str]:
    held = sum(h["open_quantity"] * h["unit_margin"] for h in f.holds.values() if h["state"] == "BLOCKED")
    blocked = f.ledger["blocked_margin"] - f.ledger["portfolio_blocked"]
    if blocked != held:
        yield f"the ledger has {blocked} blocked, the holds come to {held}"


def _nobody_is_short(f: Facts) -> Iterator[str]:
    if f.ledger["available_cash"] < 0 and not f.surprised:
        yield f"available are {f.ledger['available_cash']}"


def _the_hold_covers_what_may_trade(f: Facts) -> Iterator[str]:
    for order_id, order in f.orders.items():
        name = f.names[order_id]
        quantity, prices = _may_trade(f, order_id, order, f.at.memory.exchange[name])
        if not quantity or f.at.memory.exchange[name].surprised:
            continue
        hold = f.holds[order_id]
        held = hold["open_quantity"] + hold["close_quantity"]
        if held < quantity:
            yield f"{name} may still trade {quantity}, its hold is of {held}"
        dearest = max(f.unit(price, name) for price in prices)
        if hold["open_quantity"] and hold["unit_margin"] < dearest:
            yield f"{name} may trade at {dearest} a unit, its hold has {hold['unit_margin']}"


def _may_trade(f: Facts, order_id: int, order: Row, has: AtExchange) -> tuple[int, set[int]]:
    """What of the order is or may be traded and not booked, by the most any terms allow, and their prices."""
    fills = [r["report"] for r in f.inbox if r["order_id"] == order_id and is_due(r)]
    fills = [r for r in fills if r.get("exec_type") == "F"]
    terms = [(has.quantity, has.price)] if has.alive else []
    if has.alive or not has.reports:
        terms += [
            (r["instruction"]["quantity"], r["instruction"]["price"])
            for r in f.outbox
            if r["order_id"] == order_id and r["kind"] != "CANCEL"
            if not r["withdrawn_at_ns"] and not r["answered_at_ns"]
        ]
    left = [(quantity - has.filled, price) for quantity, price in terms if quantity > has.filled]
    booked_later = sum(fill["last_quantity"] for fill in fills)
    prices = {price for _, price in left} | {fill["last_price"] for fill in fills}
    return booked_later + max((quantity for quantity, _ in left), default=0), prices


def _nothing_is_closed_that_is_not_there(f: Facts) -> Iterator[str]:
    for side in Side:
        closing = sum(h["close_quantity"] for h in f.holds.values() if h["transaction_type"] == side)
        there = max(0, -side.sign * f.net)
        if closing > there:
            yield f"orders are to close {closing} by {side}, {there} are there to close"


def _shares_are_promised_once(f: Facts) -> Iterator[str]:
    if f.scenario.product is not Product.CNC:
        return
    sold = [h for h in f.holds.values() if h["transaction_type"] == Side.SELL and h["state"] == "BLOCKED"]
    promised = sum(h["open_quantity"] + h["close_quantity"] for h in sold)
    if f.holding["blocked_quantity"] != promised:
        yield f"{f.holding['blocked_quantity']} shares are blocked, orders are promised {promised}"
    if f.holding["blocked_quantity"] > f.holding["quantity"] and not f.surprised:
        yield f"{f.holding['blocked_quantity']} of {f.holding['quantity']} shares are promised"


def _derivatives_have_their_margin(f: Facts) -> Iterator[str]:
    needed = _portfolio_margin(f)
    if needed is None:
        return
    has = f.ledger["portfolio_used"], f.ledger["portfolio_blocked"]
    if has != (needed.used, needed.blocked):
        yield f"the portfolio has (used, blocked) {has}, it needs {(needed.used, needed.blocked)}"


def _portfolio_margin(f: Facts) -> PortfolioMargin | None:
    contract = f.account.portfolios.contracts.get(f.account.listed.instrument_id)
    if contract is None:
        return None
    pool = f.account.listed.exchange, f.scenario.product
    portfolio = DerivativePortfolio({pool: [MarginedPosition(contract, f.net)]} if f.net else {})
    for order_id, hold in f.holds.items():
        if hold["state"] == "BLOCKED":
            quantity = hold["open_quantity"] + hold["close_quantity"]
            order = WorkingOrder(contract, Side(hold["transaction_type"]), quantity, 0)
            portfolio = portfolio.with_order(order_id, pool, order)
    margin = portfolio.margin(lambda _: PARAMETERS)
    assert isinstance(margin, PortfolioMargin)
    return margin


def _holds_are_what_is_open(f: Facts) -> Iterator[str]:
    for order_id, hold in f.holds.items():
        name = f.names[order_id]
        has = f.at.memory.exchange[name]
        own = [r for r in f.outbox if r["order_id"] == order_id and not r["withdrawn_at_ns"]]
        if any(r["kind"] != "CANCEL" and not r["answered_at_ns"] for r in own):
            continue
        held = hold["open_quantity"] + hold["close_quantity"]
        if held != has.left:
            yield f"{name} has {has.left} open at the exchange, its hold is of {held}"
        elif hold["open_quantity"] and hold["unit_margin"] != f.unit(has.price, name):
            yield f"{name}'s hold has {hold['unit_margin']} a unit, it needs {f.unit(has.price, name)}"


def _used_is_what_is_held(f: Facts) -> Iterator[str]:
    margin = f.position["margin"] if f.position else 0
    bought = sum(o.value for o in f.at.memory.exchange.values() if o.side is Side.BUY)
    delivered = bought if f.scenario.product is Product.CNC else 0
    used = f.ledger["used_margin"] - f.ledger["portfolio_used"]
    if used != margin + delivered:
        yield f"used are {used}, positions and purchases come to {margin + delivered}"
    units = [
        f.unit(price, name)
        for name, plan in f.scenario.orders.items()
        if f.net * plan.side.sign > 0
        for _, price in ((0, plan.price), *plan.changes)
    ]
    if f.position and not abs(f.net) * min(units, default=0) <= margin <= abs(f.net) * max(units, default=0):
        yield f"a position of {f.net} has a margin of {margin}"


def _what_was_traded_is_booked(f: Facts) -> Iterator[str]:
    traded = f.traded(Side.BUY) - f.traded(Side.SELL)
    delivery = f.scenario.product is Product.CNC
    booked = f.holding["quantity"] - f.scenario.shares if delivery else f.net
    if booked != traded:
        yield f"{traded} were traded in sum, {booked} are booked"


def _the_view_is_the_ledger(f: Facts) -> Iterator[str]:
    fields = {k.decode(): int(v) for k, v in f.at.saved.view[f"margin:{{{f.account.user_id}}}"].items()}
    if fields.get("generation") != f.ledger["generation"]:
        return  # It is rebuilt before its next answer.
    early = sum(
        block.required
        for name, block in f.at.memory.blocks.items()
        if block.generation == f.ledger["generation"]
        and f.orders[f.account.orders[name].order_id]["status"] == "PENDING_VALIDATION"
    )
    wanted = {
        "blocked": f.ledger["blocked_margin"] + early,
        "used": f.ledger["used_margin"],
        "realized_pnl": f.ledger["realized_pnl"],
    }
    for name, amount in wanted.items():
        if fields[name] != amount:
            yield f"the view has {fields[name]} {name}, the ledger {amount}"
    for order_id, hold in f.holds.items():
        seen = f.at.saved.view[f"margin:{{{f.account.user_id}}}:hold:{order_id}"]
        open_, close = int(seen.get(b"open", 0)), int(seen.get(b"close", 0))
        if (open_, close) != (hold["open_quantity"], hold["close_quantity"]):
            held = f"{hold['open_quantity']} and {hold['close_quantity']}"
            yield f"the view has {f.names[order_id]} open {open_} and close {close}, the ledger {held}"


def _every_report_is_understood(f: Facts) -> Iterator[str]:
    for report in f.inbox:
        if report["broken"]:
            yield f"a report of {f.names[report['order_id']]} is a break: {report['broken']}"


ALWAYS: tuple[Rule, ...] = (
    _blocked_is_what_the_holds_come_to,
    _nobody_is_short,
    _the_hold_covers_what_may_trade,
    _nothing_is_closed_that_is_not_there,
    _shares_are_promised_once,
    _derivatives_have_their_margin,
    _every_report_is_understood,
)
ONCE_BOOKED: tuple[Rule, ...] = (
    _holds_are_what_is_open,
    _used_is_what_is_held,
    _what_was_traded_is_booked,
)


def broken(at: State, account: Account, scenario: Scenario) -> list[str]:
    """What does not hold, in sentences."""
    facts = Facts(at, account, scenario)
    rules = ALWAYS
    if not at.memory.died:
        rules += (_the_view_is_the_ledger,)
        if not at.since and not to_be_booked(at.saved):
            rules += ONCE_BOOKED
    return [sentence for rule in rules for sentence in rule(facts)]
