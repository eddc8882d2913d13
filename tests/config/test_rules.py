"""Dated rules: the latest that has begun is in force, and a day before the first has none."""

from datetime import date
from pathlib import Path

import pytest

from config import rules
from domain.charges import TradeKind
from domain.portfolio_margin import ExposureRate

TODAY = date(2026, 11, 24)


def test_the_latest_date_that_has_begun_is_in_force(tmp_path: Path) -> None:
    table = tmp_path / "exposure_rates.csv"
    table.write_text(
        "effective_from,product,percent,expiry_day_short_option_percent\n"
        "2026-04-01,*,5,0\n"
        "2026-12-01,*,3.5,0\n"
        "2026-12-01,NIFTY,2,2\n"
    )
    assert rules.exposure_rates(date(2026, 11, 30), tmp_path) == {"*": ExposureRate(50_000)}
    december = {"*": ExposureRate(35_000), "NIFTY": ExposureRate(20_000, 20_000)}
    assert rules.exposure_rates(date(2026, 12, 1), tmp_path) == december


def test_a_day_before_the_first_rule_is_refused() -> None:
    with pytest.raises(LookupError, match=r"charge_rates\.csv has nothing in force on 2026-03-31"):
        rules.charge_rates(date(2026, 3, 31))


def test_every_table_of_the_house_is_read_whole() -> None:
    assert set(rules.charge_rates(TODAY)) == {(e, k) for e in ("NSE", "BSE") for k in TradeKind}
    assert rules.exposure_rates(TODAY)["*"] == ExposureRate(50_000)
    assert [rule.move_percent for rule in rules.halt_rules(TODAY)] == [10, 10, 10, 15, 15, 15, 20]
    assert rules.band_rules(TODAY).width == 1000
    assert len(rules.protection_rules(TODAY)) == 3
