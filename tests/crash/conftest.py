"""What the kills have in common."""

import pytest

from tests.support.clients import lower_band
from tests.support.market import Market


@pytest.fixture
def low(market: Market) -> str:
    """The lowest price of NSE:TCS today: a purchase at it rests."""
    return lower_band(market.api_url, "NSE:TCS")
