"""The instrument list costs its making once a day: it stands in the way of whoever places an order."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import msgspec

from api.listing import Listing
from api.market_responses import Instrument, Permissions
from config.sessions import session_rules
from domain import instruments
from domain.sessions import SessionClass, SessionRules, session_classes
from exchange.files.master import read_master

MASTER = {row.instrument_id: row for name in ("NSE", "BSE") for row in read_master(name).values()}
TODAY = date(2026, 11, 23)


class Counting(SessionRules):
    """Counts the days that are laid out, which is what an instrument costs."""

    made = 0

    def changes(self, day: date, session_class: SessionClass) -> Any:
        type(self).made += 1
        return super().changes(day, session_class)


class Bands:
    """What the exchange has moved."""

    def __init__(self) -> None:
        self.moved: dict[str, int] = {}

    def present(self, listed: instruments.Instrument) -> instruments.Instrument:
        high = self.moved.get(listed.instrument_id)
        return listed if high is None else replace(listed, upper_band=high)


def a_listing(bands: Bands) -> Listing:
    rules = session_rules()
    Counting.made = 0
    counting = Counting(**{name: getattr(rules, name) for name in rules.__dataclass_fields__})
    return Listing(MASTER, bands.present, counting)


def rows(listing: Listing, wanted: str = "", limit: int = 1000, today: date = TODAY) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = msgspec.json.decode(listing.found(wanted, limit, today))["instruments"]
    return found


def test_a_row_is_made_once_a_day_and_again_when_its_band_has_moved() -> None:
    bands = Bands()
    listing = a_listing(bands)
    assert len(rows(listing)) == min(1000, len(MASTER))
    made = Counting.made
    assert made > 0
    for wanted in ("", "TCS", "nifty", "NSE:RELIANCE"):
        rows(listing, wanted)
    assert Counting.made == made
    bands.moved["NSE:RELIANCE"] = 2000_00
    (moved,) = rows(listing, "NSE:RELIANCE", 1)
    assert moved["upper_band"] == "2000.00"
    assert Counting.made == made + 1
    bands.moved.clear()
    assert rows(listing, "NSE:RELIANCE", 1)[0]["upper_band"] != "2000.00"
    rows(listing, today=TODAY + timedelta(days=1))
    assert Counting.made > made + 100


def test_the_rows_are_what_they_were() -> None:
    classes = session_classes(MASTER.values(), TODAY)
    expected = {
        key: Instrument.of(row, Permissions.by_rules(row, classes[key], session_rules(), TODAY))
        for key, row in MASTER.items()
    }
    for row in rows(a_listing(Bands())):
        assert row == msgspec.json.decode(expected[row["instrument_id"]].model_dump_json())


def test_exact_symbols_come_first_then_by_id() -> None:
    listing = a_listing(Bands())
    found = [row["symbol"] for row in rows(listing, "reliance ")]
    assert found[0] == "RELIANCE" and len(found) > 1
    others = [row["instrument_id"] for row in rows(listing, "NIFTY") if row["symbol"] != "NIFTY"]
    assert others == sorted(others)
    assert rows(listing, "no such thing") == [] and len(rows(listing, "", 7)) == 7
