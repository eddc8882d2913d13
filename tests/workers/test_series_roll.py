"""A process outlives no expiry: it ends when its contracts are no longer the day's."""

import signal
import subprocess
import sys
from datetime import datetime

import pytest

from domain.time import IST, nanoseconds
from workers.series_roll import roll_due_ns

SOON = """
import time
from workers.series_roll import _end_at
_end_at(time.time_ns() + 10**8)
time.sleep(60)
"""


@pytest.mark.parametrize(
    ("started", "ends"),
    [
        ("2026-12-02 10:00", "2026-12-09 00:15"),  # a week's options expire on Tuesday the 8th
        ("2026-12-08 23:59", "2026-12-09 00:15"),
        ("2026-12-09 00:10", "2026-12-09 00:15"),  # begun before the day's contracts were listed
        ("2026-12-09 00:20", "2026-12-16 00:15"),
        ("2027-01-21 10:00", "2027-01-26 00:15"),  # the 26th is a holiday: January ends on the 25th
        ("2027-03-15 10:00", "2027-03-17 00:15"),
        ("2028-01-02 10:00", "2028-01-05 00:15"),
    ],
)
def test_a_process_ends_when_the_day_roll_has_listed_others(started: str, ends: str) -> None:
    now, due = (nanoseconds(datetime.fromisoformat(moment).replace(tzinfo=IST)) for moment in (started, ends))
    assert roll_due_ns(now) == due


def test_it_ends_as_if_it_were_stopped() -> None:
    process = subprocess.run([sys.executable, "-c", SOON], timeout=30)
    assert process.returncode == -signal.SIGTERM
