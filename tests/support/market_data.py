"""Where recorded market data lies: beside the checkout, or where HUNDI_MARKET_DATA says."""

import os
from pathlib import Path

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
MARKET_DATA = Path(os.environ.get("HUNDI_MARKET_DATA", _BESIDE))
