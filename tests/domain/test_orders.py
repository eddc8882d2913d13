"""The order's life as a literal grid: each status meets each event, and only the written cells move."""

import pytest

from domain.orders import FINAL, KEEPS_STATUS, IllegalTransition, OrderEvent, OrderStatus, next_status

# One letter a status: V validation, P pending open, O open, T trigger pending, F partially filled,
# E executed, S settled, C cancelled, R rejected, X expired, . illegal.
LETTERS = dict(zip("VPOTFESCRX", OrderStatus, strict=True))
# Columns: ACCEPTED REFUSED SUBMITTED SENT ACKNOWLEDGED STOP_ACKNOWLEDGED TRIGGERED PARTIAL_FILL FILL
# REPLACED CANCELLED EXCHANGE_REJECTED EXPIRED WITHDRAWN UNEXPECTED_FILL TRADE_CANCELLED
# LAST_TRADE_CANCELLED TRADE_CORRECTED TRADE_REDUCED SETTLED, the order of the enum; those of KEEPS_STATUS
# are no steps.
STEPS = [event for event in OrderEvent if event not in KEEPS_STATUS]
GRID = """
V  . R P . . . . . . . . . . C V . . . . .
P  . . . P O T . F E . C R X C . . . . . .
O  . . . . . . . F E O C . X . . . . . . .
T  . . . . . . O F E T C . X . . . . . . .
F  . . . . . . . F E F C . X . . F O F F .
E  . . . . . . . . . . . . . . E C C E C S
S  . . . . . . . . . . . . . . S . . . . .
C  . . . . . . . . . . . . . . C C C C C .
R  . . . . . . . . . . . . . . R . . . . .
X  . . . . . . . . . . . . . . X X X X X .
"""
CELLS = [
    (LETTERS[row.split()[0]], event, LETTERS.get(cell))
    for row in GRID.strip().splitlines()
    for event, cell in zip(STEPS, row.split()[1:], strict=True)
]


def test_the_grid_has_every_status_and_every_event() -> None:
    assert {(status, event) for status, event, _ in CELLS} == {(s, e) for s in OrderStatus for e in STEPS}


@pytest.mark.parametrize("event", sorted(KEEPS_STATUS))
def test_an_event_that_keeps_the_status_is_no_step_of_any(event: OrderEvent) -> None:
    for status in OrderStatus:
        with pytest.raises(IllegalTransition):
            next_status(status, event)


@pytest.mark.parametrize(("status", "event", "after"), CELLS)
def test_each_cell(status: OrderStatus, event: OrderEvent, after: OrderStatus | None) -> None:
    if after is None:
        with pytest.raises(IllegalTransition):
            next_status(status, event)
    else:
        assert next_status(status, event) is after


def test_a_final_order_can_only_be_settled_trade_late_or_lose_a_trade_and_stays_final() -> None:
    moves = {(status, event): after for status, event, after in CELLS if after and status in FINAL}
    late = {key for key in moves if key[1] is OrderEvent.UNEXPECTED_FILL}
    assert all(moves.pop(key) is key[0] for key in late) and len(late) == len(FINAL)
    corrected = {key: after for key, after in moves.items() if "TRADE" in key[1]}
    assert moves.keys() - corrected.keys() == {(OrderStatus.EXECUTED, OrderEvent.SETTLED)}
    assert set(corrected.values()) <= FINAL
