"""The risk file that a process follows: the day's, read again when it changes, none when it is no good."""

from datetime import datetime
from pathlib import Path

import pytest

from config.rules import exposure_rates
from domain.portfolio_margin import MarginParameters
from domain.rejects import Refusal
from domain.time import IST, NANOS
from exchange.files.master import read_master
from exchange.files.span_directory import SpanFiles, span_path
from exchange.simulator.clearing.span_publisher import publish_span

NSE = read_master("NSE")


def at(moment: str) -> int:
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


def answer(folder: Path, moment: str, exchange: str = "NSE") -> str:
    """The day of the file in force, or the code of the refusal."""
    files = SpanFiles(folder, ["NSE", "BSE"], lambda: at(moment))
    files.refresh()
    return _said(files, exchange)


def _said(files: SpanFiles, exchange: str = "NSE") -> str:
    params = files(exchange)
    if isinstance(params, Refusal):
        return f"{params.code} {params.limit}" if params.limit else params.code
    assert params.exposure == exposure_rates(params.span.business_date)
    return params.span.business_date.isoformat()


@pytest.mark.parametrize(
    ("moment", "said"),
    [
        # Thursday's file on its day, from its first hour to its last.
        ("2026-11-26 00:10", "2026-11-26"),
        ("2026-11-26 23:59", "2026-11-26"),
        # Until Friday's sessions begin, after-market orders are margined by it; then it is old.
        ("2026-11-27 08:59", "2026-11-26"),
        ("2026-11-27 09:00", "SPAN_FILE_STALE 2026-11-26"),
        ("2026-11-28 10:00", "SPAN_FILE_STALE 2026-11-26"),
        # A file of tomorrow is nobody's.
        ("2026-11-25 23:59", "SPAN_FILE_STALE 2026-11-26"),
        # The calendar ends with its year.
        ("2028-01-03 10:00", "SPAN_FILE_STALE 2026-11-26"),
    ],
)
def test_a_file_is_good_from_its_day_until_the_next_trading_day_begins(
    tmp_path: Path, moment: str, said: str
) -> None:
    publish_span("NSE", NSE, tmp_path, at("2026-11-26 07:00"))
    assert answer(tmp_path, moment) == said
    assert answer(tmp_path, moment, "BSE") == "SPAN_FILE_MISSING"


def test_a_friday_s_file_serves_the_weekend_and_a_holiday_s_own_file_is_good_too(tmp_path: Path) -> None:
    publish_span("NSE", NSE, tmp_path, at("2026-11-20 07:00"))
    assert answer(tmp_path, "2026-11-22 12:00") == "2026-11-20"
    # The embedded market trades on holidays, with a file of the day.
    publish_span("NSE", NSE, tmp_path, at("2026-11-24 07:00"))
    assert answer(tmp_path, "2026-11-24 12:00") == "2026-11-24"


def test_a_file_that_comes_or_changes_is_read_again_and_a_broken_one_is_not_taken(tmp_path: Path) -> None:
    files = SpanFiles(tmp_path, ["NSE"], lambda: at("2026-11-26 12:00"))
    files.refresh()
    assert _said(files) == "SPAN_FILE_MISSING"
    publish_span("NSE", NSE, tmp_path, at("2026-11-26 07:00"))
    files.refresh()
    first = files("NSE")
    assert isinstance(first, MarginParameters)
    files.refresh()
    assert files("NSE") is first
    publish_span("NSE", NSE, tmp_path, at("2026-11-26 11:30"))
    files.refresh()
    again = files("NSE")
    assert isinstance(again, MarginParameters) and again.span.created == "202611261130"
    path = span_path(tmp_path, "NSE", again.span.business_date)
    path.write_bytes(path.read_bytes()[:5000])
    files.refresh()
    assert files("NSE") is again


def test_a_file_of_another_exchange_is_not_taken(tmp_path: Path) -> None:
    path = publish_span("NSE", NSE, tmp_path, at("2026-11-26 07:00"))
    assert path is not None
    path.rename(tmp_path / "exchange-BSE-span-20261126.spn")
    assert answer(tmp_path, "2026-11-26 12:00", "BSE") == "SPAN_FILE_MISSING"
