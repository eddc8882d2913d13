"""The phases in memory: a copy that is too old knows nothing, and is read anew for whoever must decide."""

from datetime import date, time
from itertools import count
from time import time_ns

from domain.reports import BandSet, MarketPhase, SessionPhase
from domain.time import ist_ns
from storage.database import Database
from storage.journals.gateway_commit import write
from storage.journals.inbox_rows import Arrival
from storage.market.phases import MarketPhases
from tests.support.builders import an_instrument
from tests.support.stories import exchange_listed, listed


async def test_a_copy_that_is_too_old_is_read_anew_before_an_order_is_refused(database: Database) -> None:
    async with exchange_listed(database):
        phases = MarketPhases(database)
        assert phases.phase(listed()) is None
        assert await phases.asked(listed()) is MarketPhase.CONTINUOUS
        assert phases.phase(listed()) is MarketPhase.CONTINUOUS
        assert await phases.asked(listed(symbol="UNTOLD")) is None


async def test_the_market_s_time_is_what_its_exchange_has_told(database: Database) -> None:
    """None without hours, the clock's on a real day, the last moment told in a day that is played."""
    now_ns = ist_ns(date(2026, 11, 25), time(22, 0))
    moments = [ist_ns(date(2026, 11, 25), hour) for hour in (time(15, 0), time(15, 15), time(15, 20))]

    async def told(*rows: tuple[int, int | None]) -> int | None:
        async with database.transaction() as conn:
            await conn.execute("DELETE FROM market_phases WHERE exchange = 'XM'")
        arrivals = [
            Arrival("XM", "X", next(n), SessionPhase("XM", "CASH", MarketPhase.CLOSED, since, c, planned), 1)
            for c, (since, planned) in zip(("CAS", "CASH"), rows, strict=False)
        ]
        async with database.transaction() as conn:
            await write(conn, [], arrivals, 1)
        await phases.refresh()
        return phases.market_time_ns("XM", now_ns)

    phases, n = MarketPhases(database), count(1)
    assert phases.market_time_ns("XM", now_ns) is None
    assert await told((5, None), (6, None)) is None
    assert await told((moments[0], moments[0]), (moments[1], moments[1])) == now_ns
    assert await told((5, moments[2]), (6, moments[1])) == moments[2]
    assert await told((5, None), (6, moments[1])) == moments[1]
    async with database.transaction() as conn:
        await conn.execute("DELETE FROM market_phases WHERE exchange = 'XM'")


async def test_a_band_that_has_moved_stands_for_its_day_alone(database: Database) -> None:
    phases, now_ns = MarketPhases(database), time_ns()
    yesterday_ns = now_ns - 24 * 3600 * 10**9
    told = [
        BandSet("XB", "TODAY", 100, 200, now_ns),
        BandSet("XB", "TODAY", 90, 190, now_ns - 1),
        BandSet("XB", "YESTERDAY", 100, 200, yesterday_ns),
    ]
    arrivals = [Arrival("XB", "X", number, band, 1) for number, band in enumerate(told, 1)]
    async with database.transaction() as conn:
        await write(conn, [], arrivals, 1)
    await phases.refresh()
    today, yesterday, other = (
        phases.present(an_instrument(instrument_id=f"XB:{name}")) for name in ("TODAY", "YESTERDAY", "OTHER")
    )
    assert (today.lower_band, today.upper_band) == (100, 200)
    assert (yesterday.lower_band, yesterday.upper_band) == (other.lower_band, other.upper_band)
