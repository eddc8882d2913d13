"""Rounds become rows: medians, spreads, ratios to the ceiling."""

import itertools

from benchmarks.rows import Trial, compare, latency_rows, quantile


def a_trial(role: str, *rates: float) -> Trial[float]:
    turns = itertools.count()

    async def run() -> tuple[float, str]:
        turn = next(turns)
        return rates[turn], f"turn {turn}"

    return Trial(role, role, run)


async def test_the_first_round_is_not_counted_and_the_note_is_of_the_median() -> None:
    ours, ceiling = await compare(
        "w", [a_trial("ours", 1, 30, 10, 20), a_trial("ceiling", 1, 40, 40, 40)], rounds=3
    )
    assert (ours.median, ours.lowest, ours.highest, ours.note) == (20, 10, 30, "turn 3")
    assert (ours.of_ceiling, ceiling.of_ceiling) == (0.5, 1.0)


def test_quantiles_are_of_each_round_by_nearest_rank() -> None:
    rounds = [[n * 1_000_000 for n in range(1, 101)], [n * 2_000_000 for n in range(1, 101)], [3_000_000]]
    found = quantile(rounds, 0.99)
    assert (found.median, found.lowest, found.highest) == (99, 3, 198)


def test_latencies_are_compared_by_their_middle() -> None:
    slow, fast = latency_rows(
        "w", [("ours", "slow"), ("ceiling", "fast")], [[([6_000_000], "")], [([2_000_000], "")]]
    )
    assert (slow.of_ceiling, fast.of_ceiling, slow.samples) == (3.0, 1.0, 1)
