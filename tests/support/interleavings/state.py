"""A place of the search, and which steps can happen there: pure functions of what was saved.

What processes know beside the books and the view (a block, a step to be run again) and what the exchange has
is `Memory`. A step that turns out to wait for what is stopped is found out by taking it (world.py).
"""

from collections.abc import Iterator, Mapping
from dataclasses import astuple, dataclass, field, replace

from domain.margin import Block
from domain.orders import OrderStatus, PlacedOrder
from tests.support.interleavings import exchange
from tests.support.interleavings.exchange import AtExchange
from tests.support.interleavings.scenario import RATIONED, Scenario, Step
from tests.support.interleavings.snapshots import Row, Saved, is_due

LOCKING = ("submit", "change", "book")
"""Steps that lock the ledger: they may die after it, or be run once more."""
READING = ("submit", "change")
"""Those that read before they lock it: they may stop in between."""


@dataclass(frozen=True)
class Memory:
    """What is neither in the books nor in the view."""

    exchange: Mapping[str, AtExchange]
    blocks: Mapping[str, Block] = field(default_factory=dict)
    """What the order's workflow was given, to be submitted."""
    places: Mapping[str, int] = field(default_factory=dict)
    """Of the orders, among all that were acknowledged."""
    requests: Mapping[str, int] = field(default_factory=dict)
    """How many changes of each order were asked."""
    died: tuple[tuple[Step, int], ...] = ()
    """To be run again, each under the number of its request."""
    done: tuple[Step, int] | None = None
    """The last step that locks the ledger: its process may not know that it is done."""
    used: Mapping[str, int] = field(default_factory=dict)
    """Of the ration."""


@dataclass(frozen=True)
class State:
    """While a transaction is stopped, the state is reached from `base` by taking `since`."""

    saved: Saved
    memory: Memory
    base: "State | None" = None
    since: tuple[Step, ...] = ()


def beside(memory: Memory, saved: Saved, orders: Mapping[str, PlacedOrder]) -> list[object]:
    """What of the memory decides what can happen, without names of what is over."""
    generation = saved.rows("margin_ledger")[0]["generation"]
    done = memory.done
    return [
        [astuple(replace(order, reports=0)) for order in memory.exchange.values()],
        [
            [n, b.open_quantity, b.close_quantity, b.generation == generation]
            for n, b in sorted(memory.blocks.items())
        ],
        [[step, f"{orders[step.order].order_id}-{number}"] for step, number in memory.died],
        done and [done[0], f"{orders[done[0].order].order_id}-{done[1]}"],
        sorted(memory.used.items()),
    ]


def possible(state: State, scenario: Scenario, orders: Mapping[str, PlacedOrder]) -> Iterator[Step]:
    """What may happen next, within the scenario's ration."""
    for step in dict.fromkeys(_steps(state, scenario, orders)):
        names = rationed(state.memory, step)
        if all(state.memory.used.get(name, 0) < scenario.most.get(name, 0) for name in names):
            yield step


def rationed(memory: Memory, step: Step) -> set[str]:
    """What taking the step uses up: nothing where there is no other choice."""
    names = {step.verb, step.how} & set(RATIONED)
    again = step.how == "again" or step in [died for died, _ in memory.died]
    if again or (step.verb == "refuse" and exchange.must_refuse(memory.exchange[step.order])):
        names.discard(step.verb)
    return names


def _steps(state: State, scenario: Scenario, orders: Mapping[str, PlacedOrder]) -> Iterator[Step]:
    saved, memory = state.saved, state.memory
    if len(state.since) > 1:
        # (Had nothing happened meanwhile, it might as well not have stopped.)
        yield from (Step("resume"), Step("die"))
    yield from (step for step, _ in memory.died)
    if memory.done is not None:
        yield memory.done[0]._replace(how="again")
    for step in _of_orders(saved, memory, scenario, orders):
        yield step
        if step.verb in LOCKING:
            yield step._replace(how="dies")
        if step.verb in READING and state.base is None:
            yield step._replace(how="stops")
    for name, order in memory.exchange.items():
        yield from exchange.possible(name, order)
    waiting = [r for r in saved.rows("exchange_outbox") if not r["sent_at_ns"] and not r["withdrawn_at_ns"]]
    unclaimed = [r for r in waiting if not r["claimed_at_ns"]]
    frozen = any(r["state"] != "ACTIVE" for r in saved.rows("trading_states"))
    if waiting:
        yield Step("send")
    if unclaimed:
        yield Step("claim")
    if frozen and unclaimed:
        yield Step("withdraw")
    yield Step("thaw" if frozen else "freeze")
    yield Step("rebuild")


def _of_orders(
    saved: Saved, memory: Memory, scenario: Scenario, orders: Mapping[str, PlacedOrder]
) -> Iterator[Step]:
    rows, due = {r["order_id"]: r for r in saved.rows("orders")}, to_be_booked(saved)
    for name, order in orders.items():
        row = rows.get(order.order_id)
        if row is None:
            yield Step("place", name)
            return
        early = row["status"] == "PENDING_VALIDATION"
        if name in memory.blocks:
            yield Step("submit", name)
        elif early:
            yield Step("block", name)
        if early:
            yield Step("cancel", name)
        elif not _is_final(row):
            for quantity, price in scenario.orders[name].changes:
                if (quantity, price) != (row["quantity"], row["price"]):
                    yield Step("change", name, quantity, price)
            yield Step("cancel", name)
        if order.order_id in due:
            yield Step("book", name)


def to_be_booked(saved: Saved) -> set[int]:
    """Orders of which a report, or what was withdrawn before it left, waits to be booked."""
    due = {r["order_id"] for r in saved.rows("exchange_inbox") if is_due(r)}
    return due | {r["order_id"] for r in saved.rows("exchange_outbox") if _is_withdrawn(r)}


def _is_final(row: Row) -> bool:
    return OrderStatus(row["status"]).is_final


def _is_withdrawn(row: Row) -> bool:
    return bool(row["withdrawn_at_ns"]) and not row["answered_at_ns"]
