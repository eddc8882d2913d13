"""When an instrument may be told in a turn: at most once a beat, at once after a quiet spell."""

import numpy as np

from bus.ticks import TICK, Ticks, group_of
from realtime.stream.tick_table import PUSH_SECONDS, TickTable
from tests.support.builders import an_instrument

GROUP = group_of("NSE", 2885)
NOON = 43_200.0
TURN = 1


def a_table(*, watched: bool = True) -> TickTable:
    table = TickTable([an_instrument()], turns=2)
    if watched:
        table.watch(TURN, 0)
    return table


def a_tick(**fields: int) -> Ticks:
    row = np.zeros(1, TICK)
    row["token"] = 2885
    for name, value in fields.items():
        row[name] = value
    return row


def test_the_first_tick_after_a_quiet_spell_is_due_at_once_and_the_next_ones_at_the_beat() -> None:
    table = a_table()
    assert table.apply(GROUP, a_tick(ltp=100), NOON) == [(TURN, [0])]
    table.pull(TURN, [0], NOON)
    assert table.apply(GROUP, a_tick(ltp=101), NOON + 0.1) == []
    assert table.due(TURN, NOON + 0.1) == []
    assert table.apply(GROUP, a_tick(ltp=102), NOON + PUSH_SECONDS + 0.1) == []
    assert table.due(TURN, NOON + PUSH_SECONDS) == [0]
    before, rows = table.pull(TURN, [0], NOON + PUSH_SECONDS)
    assert (before["ltp"].tolist(), rows["ltp"].tolist()) == ([100], [102])
    assert table.apply(GROUP, a_tick(ltp=103), NOON + 3 * PUSH_SECONDS) == [(TURN, [0])]


def test_the_last_row_of_a_message_wins() -> None:
    table = a_table()
    assert table.apply(GROUP, np.concatenate([a_tick(ltp=1), a_tick(ltp=2)]), NOON)
    assert table.pull(TURN, [0], NOON)[1]["ltp"].tolist() == [2]


def test_what_nobody_watches_is_kept_and_not_told() -> None:
    table = a_table(watched=False)
    assert table.apply(GROUP, a_tick(ltp=100), NOON) == []
    assert table.due(TURN, NOON + 1) == []
    assert table.pushed(TURN, [0])[0] == []
    table.watch(TURN, 0)
    found, rows = table.pushed(TURN, [0])
    assert (found, rows["ltp"].tolist()) == ([0], [100])


def test_an_unknown_token_is_passed_over() -> None:
    table = a_table()
    stranger = a_tick(ltp=5)
    stranger["token"] = 2885 + 64
    assert table.apply(GROUP, stranger, NOON) == []
    assert table.apply("BSE:1", stranger, NOON) == []


def test_what_was_pushed_in_one_turn_is_new_in_another() -> None:
    table = a_table()
    table.apply(GROUP, a_tick(ltp=100), NOON)
    table.pull(TURN, [0], NOON)
    table.watch(0, 0)
    assert table.apply(GROUP, a_tick(ltp=101), NOON + 0.1) == [(0, [0])]
    before, rows = table.pull(0, [0], NOON + 0.1)
    assert (before["ltp"].tolist(), rows["ltp"].tolist()) == ([100], [101])
    assert table.apply(GROUP, a_tick(ltp=102), NOON + PUSH_SECONDS) == []
    assert table.due(TURN, NOON + PUSH_SECONDS) == [0]
    assert table.due(0, NOON + PUSH_SECONDS) == []


def test_a_busy_instrument_is_told_on_every_beat_of_its_turn() -> None:
    table, beat, told = a_table(), NOON, 0
    for _ in range(100):
        for _ in range(5):
            beat += PUSH_SECONDS / 5
            table.apply(GROUP, a_tick(ltp=100), beat - 0.01)
        if due := table.due(TURN, beat):
            table.pull(TURN, due, beat)
            told += 1
    assert told == 100


def test_while_the_distributor_is_gone_every_price_is_stale_and_afterwards_those_of_silent_lines() -> None:
    table = a_table()
    table.apply(GROUP, a_tick(ltp=100), NOON)
    table.set_alive(True)
    assert table.pull(TURN, [0], NOON)[1]["stale"].tolist() == [0]
    table.set_alive(False)
    assert table.due(TURN, NOON + 1) == [0]
    before, rows = table.pull(TURN, [0], NOON + 1)
    assert (before["stale"].tolist(), rows["stale"].tolist()) == ([0], [1])
    table.apply(GROUP, a_tick(ltp=101, stale=1), NOON + 2)
    table.set_alive(True)
    assert table.pull(TURN, [0], NOON + 2)[1]["stale"].tolist() == [1], "its own line is silent"
