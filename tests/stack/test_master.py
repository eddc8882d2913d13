"""The instrument master: every row obeys the exchange's own rules, and the seed adds each row once."""

import csv

from config.settings import Settings
from storage.database import Database
from storage.seed import DEMO_CASH, DEMO_CLIENTS, MASTER, seed


def rows() -> list[dict[str, str]]:
    with MASTER.open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_master_carries_every_kind_on_both_exchanges() -> None:
    master = rows()
    assert len(master) >= 250
    assert {row["kind"] for row in master} == {"EQUITY", "ETF", "FUTURE", "OPTION", "INDEX"}
    assert sum(row["exchange"] == "BSE" for row in master) >= 50


def test_prices_and_bands_stand_on_the_tick_and_freezes_on_the_lot() -> None:
    for row in rows():
        tick, lot = int(row["tick_size"]), int(row["lot_size"])
        lower, upper = int(row["lower_band"]), int(row["upper_band"])
        assert lower % tick == 0 and upper % tick == 0, row
        assert lower <= int(row["previous_close"]) <= upper, row
        assert int(row["freeze_quantity"]) % lot == 0, row
        assert (row["expiry"] != "") == (row["segment"] == "FO"), row


def test_an_underlying_is_in_the_master() -> None:
    master = rows()
    known = {row["instrument_id"] for row in master}
    assert {row["underlying"] for row in master if row["underlying"]} <= known


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
