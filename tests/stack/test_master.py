"""The instrument master: every row obeys the exchange's own rules, and the seed adds each row once."""

from datetime import date

import pytest

from config.instrument_master import instruments_of
from config.settings import Settings
from domain.instruments import InstrumentKind, Segment
from storage.database import Database
from storage.seed import DEMO_CASH, DEMO_CLIENTS, seed

DAYS = [date(2026, 12, 1), date(2027, 3, 15), date(2028, 1, 2)]


@pytest.mark.parametrize("day", DAYS)
def test_the_master_carries_every_kind_on_both_exchanges(day: date) -> None:
    master = instruments_of(day)
    assert len(master) >= 500
    assert {row.kind for row in master} == set(InstrumentKind)
    assert sum(row.exchange == "BSE" for row in master) >= 50
    assert len({row.instrument_id for row in master}) == len(master)
    assert len({(row.exchange, row.token) for row in master}) == len(master)


@pytest.mark.parametrize("day", DAYS)
def test_prices_and_bands_stand_on_the_tick_and_freezes_on_the_lot(day: date) -> None:
    for row in instruments_of(day):
        assert row.lower_band % row.tick_size == 0 and row.upper_band % row.tick_size == 0, row
        assert row.lower_band <= row.previous_close <= row.upper_band, row
        assert row.freeze_quantity % row.lot_size == 0, row
        assert (row.expiry is not None) == (row.segment is Segment.FO), row


@pytest.mark.parametrize("day", DAYS)
def test_an_underlying_is_in_the_master(day: date) -> None:
    known = {row.instrument_id for row in instruments_of(day)}
    assert {row.underlying for row in instruments_of(day) if row.underlying} <= known


async def test_seeding_again_changes_nothing(database: Database, servers: Settings) -> None:
    async def counts() -> list[dict[str, int]]:
        async with database.reading() as conn:
            found = await conn.execute(
                "SELECT (SELECT count(*) FROM users WHERE client_id = ANY(%s)) AS clients, "
                "(SELECT count(*) FROM instruments) AS instruments, "
                "(SELECT sum(amount) FROM ledger_postings WHERE movement LIKE 'deposit:DEMO%%:opening' "
                " AND account = 'bank') AS bank",
                [DEMO_CLIENTS],
            )
            return await found.fetchall()

    before = await counts()
    await seed(database, demo_accounts=True)
    assert await counts() == before
    assert before[0]["clients"] == len(DEMO_CLIENTS)
    assert before[0]["bank"] == -DEMO_CASH * len(DEMO_CLIENTS)
