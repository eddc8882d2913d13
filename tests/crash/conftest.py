"""What the kills have in common."""

import httpx
import pytest

from tests.support.market import Market


@pytest.fixture
def low(market: Market) -> str:
    """The lowest price of NSE:TCS today: a purchase at it rests."""
    found = httpx.get(f"{market.api_url}/api/v1/instruments", params={"q": "NSE:TCS"}).json()
    return str(found["instruments"][0]["lower_band"])
