"""The phases in memory: a copy that is too old knows nothing, and is read anew for whoever must decide."""

from domain.reports import MarketPhase
from storage.database import Database
from storage.market_phases import MarketPhases
from tests.support.stories import exchange_listed, listed


async def test_a_copy_that_is_too_old_is_read_anew_before_an_order_is_refused(database: Database) -> None:
    async with exchange_listed(database):
        phases = MarketPhases(database)
        assert phases.phase(listed()) is None
        assert await phases.asked(listed()) is MarketPhase.CONTINUOUS
        assert phases.phase(listed()) is MarketPhase.CONTINUOUS
        assert await phases.asked(listed(symbol="UNTOLD")) is None
