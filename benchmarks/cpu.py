"""CPU time of processes, and where they run: what they cost beside how long they took (Linux, /proc).

A process is counted with all below it, the ended ones included (PostgreSQL is many processes). Called by
benchmarks/market.py.
"""

import os
from contextlib import suppress
from pathlib import Path

TICKS_A_SECOND = os.sysconf("SC_CLK_TCK")
_GONE = (FileNotFoundError, ProcessLookupError)
"""A process that ends while it is looked at: its parent has its time."""
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


def seconds(pid: int) -> float:
    """User and system time of the process and its descendants so far."""
    return sum(_ticks(each) for each in _family(pid)) / TICKS_A_SECOND


def pin(pid: int, cores: set[int]) -> None:
    """Keep the process, its threads and its descendants on these cores; what they start stays there too."""
    for each in _family(pid):
        with suppress(*_GONE):
            for thread in Path(f"/proc/{each}/task").iterdir():
                os.sched_setaffinity(int(thread.name), cores)


def _family(pid: int) -> list[int]:
    with suppress(*_GONE):
        lists = [found.read_text() for found in Path(f"/proc/{pid}/task").glob("*/children")]
        children = [int(child) for found in lists for child in found.split()]
        return [pid, *(each for child in children for each in _family(child))]
    return []


def _ticks(pid: int) -> int:
    """proc_pid_stat(5): own and reaped children's times are fields 14 to 17; a name may hold spaces."""
    with suppress(*_GONE):
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return sum(int(field) for field in after_name[11:15])
    return 0
