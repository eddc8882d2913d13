"""What the explorer is given: an account, its orders, what has happened already, and what may happen next.

A step is a value; its sentence is what a failure prints. `most` says how often a path may take a kind of step
that would otherwise go on for ever (change, cancel, freeze, rebuild, die): everything else ends by itself.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from domain.instruments import InstrumentKind
from domain.orders import Product, Side

SENTENCES = {
    "place": "{order} is placed",
    "block": "{order}'s margin is blocked in the view",
    "submit": "{order} is submitted to the ledger",
    "change": "a change of {order} to {quantity} at {price} is asked",
    "cancel": "a cancel of {order} is asked",
    "send": "the gateway sends what is owed",
    "claim": "the gateway claims what is owed",
    "mark": "the gateway sends what it has claimed",
    "acknowledge": "the exchange acknowledges {order}",
    "reject": "the exchange rejects {order}",
    "fill": "the exchange fills {quantity} of {order}",
    "overfill": "the exchange fills 1 more of {order} than there is",
    "replace": "the exchange replaces {order}",
    "refuse": "the exchange refuses what is asked of {order}",
    "end": "the exchange cancels {order}",
    "book": "{order} is booked",
    "freeze": "the desk freezes the account",
    "thaw": "the desk lifts the freeze",
    "withdraw": "the gateway withdraws what is frozen",
    "rebuild": "the view is rebuilt",
    "resume": "what was stopped goes on to its end",
    "die": "what was stopped dies",
}
HOW = {
    "": "",
    "stops": ", and stops before it locks the ledger",
    "dies": ", and dies before it commits",
    "again": ", once more (its process had died after the commit)",
}


class Step(NamedTuple):
    """One thing that happens; `how` is a word of HOW."""

    verb: str
    order: str = ""
    quantity: int = 0
    price: int = 0
    how: str = ""

    @property
    def sentence(self) -> str:
        told = SENTENCES[self.verb].format(order=self.order, quantity=self.quantity, price=self.price)
        return told + HOW[self.how]


@dataclass(frozen=True)
class Plan:
    """An order that may be placed, and the (quantity, price) that it may be changed to."""

    side: Side
    quantity: int
    price: int
    changes: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Scenario:
    """One account and one instrument."""

    product: Product
    orders: Mapping[str, Plan]
    """By a short name; placed in this order."""
    kind: InstrumentKind = InstrumentKind.EQUITY
    cash: int = 1_000_000
    shares: int = 0
    first: tuple[Step, ...] = ()
    """What has happened before the search begins."""
    most: Mapping[str, int] = field(default_factory=dict)
    """How often a path may take a verb, or a way of taking it; 0 where nothing is said of one in RATIONED."""
    depth: int = 4
    """Steps after the first ones that are explored."""


RATIONED = (
    "overfill",
    "change",
    "cancel",
    "freeze",
    "rebuild",
    "reject",
    "refuse",
    "claim",
    "stops",
    "dies",
    "again",
)


def resting(order: str) -> tuple[Step, ...]:
    """From its placing until it stands in the exchange's book, each step booked."""
    verbs = ("place", "block", "submit", "send", "acknowledge", "book")
    return tuple(Step(verb, order if verb != "send" else "") for verb in verbs)


def filled(order: str, quantity: int) -> tuple[Step, ...]:
    """What rests trades, and is booked."""
    return Step("fill", order, quantity), Step("book", order)
