"""What a soak's end must show: the rules of a market at rest, and what its clients were owed meanwhile.

tests/soak/test_verdict.py plants a fault for each rule.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field

from domain.orders import OrderStatus
from tests.soak.journal import Journal
from tests.support.evidence import Evidence
from tests.support.invariants import broken

ACCEPTED, CONFLICT = 202, 409
FINAL, PENDING = "ORDER_ALREADY_FINAL", "CANCEL_ALREADY_PENDING"
TRUTHFUL = frozenset({(ACCEPTED, ""), (CONFLICT, FINAL), (CONFLICT, PENDING)})


@dataclass
class Left:
    """All that a run leaves to be judged."""

    journal: Journal
    evidence: Evidence
    unbooked: dict[str, float] = field(default_factory=dict)
    storyless: list[int] = field(default_factory=list)
    """Orders that were open without a running workflow when the load ended."""


def faults(left: Left) -> list[str]:
    """Everything that is not as it must be; empty is what a run wants."""
    return owed(left) + broken(left.evidence)


def owed(left: Left) -> list[str]:
    """What clients and desk were owed meanwhile, and did not get."""
    return [f"{name}: {fault}" for name, rule in RULES.items() for fault in rule(left)]


def _nothing_owned_is_refused(left: Left) -> Iterator[str]:
    for one in left.journal.own_refused:
        yield f"{one.client_id} got {one.code} ({one.order_id}) for {one.of_what}"


def _cancels_are_answered_truthfully(left: Left) -> Iterator[str]:
    final_at: dict[str, int] = {}
    for record in left.evidence.records:
        if record["status"] and OrderStatus(record["status"]).is_final:
            final_at.setdefault(str(record["order_id"]), record["occurred_at_ns"])
    standing = {
        str(row["order_id"]) for row in left.evidence.orders if not OrderStatus(row["status"]).is_final
    }
    for one in left.journal.cancels:
        if (one.status, one.code) not in TRUTHFUL:
            yield f"a cancel of {one.order_id} was answered {one.status} {one.code} in {one.seconds:.1f} s"
        elif one.status == ACCEPTED and one.order_id in standing:
            yield f"a cancel of {one.order_id} was taken, and the order stands"
        elif one.code == FINAL and final_at.get(one.order_id, one.at_ns) >= one.at_ns:
            yield f"{one.order_id} was called final before it was"


def _reports_are_booked(left: Left) -> Iterator[str]:
    yield from (f"report {name} was not booked for {age} s" for name, age in left.unbooked.items())


def _orders_have_a_story(left: Left) -> Iterator[str]:
    yield from (f"order {order_id} is open and no workflow runs for it" for order_id in left.storyless)


def _freezes_take_back_what_is_pending(left: Left) -> Iterator[str]:
    yield from left.journal.late_freezes


RULES = {
    "what is owned": _nothing_owned_is_refused,
    "cancels": _cancels_are_answered_truthfully,
    "reports": _reports_are_booked,
    "stories": _orders_have_a_story,
    "freezes": _freezes_take_back_what_is_pending,
}
