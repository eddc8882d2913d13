"""Candles at rest: the parts of a minute join, in whatever slices they were written."""

from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from storage.database import Database
from storage.market import candles
from storage.market.candles import Candle

MINUTE = 60_000_000_000
NINE = 28_333_334 * MINUTE


def a_candle(instrument_id: str, minute: int = 0, **changes: Any) -> Candle:
    """Opened at 100, highest 120, lowest 90, closed at 110; 50 shares."""
    candle = Candle(instrument_id, NINE + minute * MINUTE, 100, 120, 90, 110, 1000, 1050)
    return candle._replace(**changes)


async def kept(database: Database, instrument_id: str) -> Sequence[tuple[int, ...]]:
    rows = await candles.read(database, instrument_id, NINE, NINE + 100 * MINUTE, 1000)
    return [
        tuple(row[name] for name in ("open", "high", "low", "close", "volume"))
        for row in rows
        if row["minute_ns"] >= NINE
    ]


async def test_a_minute_that_goes_on_is_written_again(database: Database) -> None:
    await candles.write(database, [a_candle("TEST:GOES-ON")])
    await candles.write(database, [a_candle("TEST:GOES-ON", close=95, high=130, closing_volume=1080)])
    assert await kept(database, "TEST:GOES-ON") == [(100, 130, 90, 95, 80)]


async def test_the_parts_of_a_minute_before_and_after_a_restart_join(database: Database) -> None:
    after = a_candle(
        "TEST:JOINS", open=111, high=115, low=85, close=85, opening_volume=1055, closing_volume=1070
    )
    for part in (a_candle("TEST:JOINS"), after, after):
        await candles.write(database, [part])
    assert await kept(database, "TEST:JOINS") == [(100, 120, 85, 85, 70)]


async def test_candles_are_read_in_order_within_bounds(database: Database) -> None:
    await candles.write(
        database, [a_candle("TEST:ORDER", minute, open=100 + minute) for minute in (3, 1, 2, 0)]
    )
    rows = await candles.read(database, "TEST:ORDER", NINE + MINUTE, NINE + 3 * MINUTE, 1000)
    assert [row["open"] for row in rows] == [101, 102]
    assert len(await candles.read(database, "TEST:ORDER", NINE, NINE + 9 * MINUTE, 3)) == 3


async def test_nothing_to_write_is_nothing(database: Database) -> None:
    await candles.write(database, [])


@pytest.mark.parametrize(
    "wrong", [{"low": 101}, {"high": 99}, {"minute_ns": NINE + 1}, {"closing_volume": 999}]
)
async def test_postgresql_refuses_a_candle_that_cannot_be(database: Database, wrong: dict[str, int]) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        await candles.write(database, [a_candle("TEST:WRONG", **wrong)])
    assert await kept(database, "TEST:WRONG") == []
