"""Ends a process when the contracts that it has read are no longer the day's; its supervisor starts it anew.

The day roll lists new contracts shortly after midnight, and processes keep the master that they began with:
its tables of prices and books have one row an instrument. Ending is as safe as a kill, which every process
survives. Called once at start by each process that holds the master.
"""

import os
import signal
import time
from datetime import time as clock
from threading import Thread

from config.instrument_master import next_roll
from domain.time import NANOS, ist_ns, trade_date

ROLLED_BY = clock(0, 15)
"""IST: the day roll has run at 00:05, and again where it failed."""
LOOK_SECONDS = 60
"""A clock may be set, a machine may sleep."""


def roll_due_ns(now_ns: int) -> int:
    """When the contracts in force at an instant are others: before 00:15 a day's master is not yet there."""
    begun = trade_date(now_ns - (ROLLED_BY.hour * 60 + ROLLED_BY.minute) * 60 * NANOS)
    return ist_ns(next_roll(begun), ROLLED_BY)


def end_at_next_roll() -> None:
    """As if stopped from outside, at the moment when the series roll."""
    due_ns = roll_due_ns(time.time_ns())
    Thread(target=_end_at, args=(due_ns,), daemon=True, name="series roll").start()


def _end_at(due_ns: int) -> None:
    while (left_ns := due_ns - time.time_ns()) > 0:
        time.sleep(min(left_ns / NANOS, LOOK_SECONDS))
    os.kill(os.getpid(), signal.SIGTERM)
