"""Why a process was restarted: how it ended and its last error, never a metric, never an older error."""

import json
from pathlib import Path

import pytest

from stack.last_words import how_it_ended, last_error, last_words

METRIC = json.dumps({"event": "metric", "level": "info", "metric": "hundi.order.stage", "count": 3})
SPAN = json.dumps({"event": "span", "level": "info", "name": "POST /api/v1/orders"})
READ = json.dumps({"event": "span_file_read", "level": "info", "file": "NSE.spn"})
TRACEBACK = (
    'Traceback (most recent call last):\n  File "a.py", line 1, in <module>\nOSError: [Errno 98] in use'
)
DIED = json.dumps({"event": "a part died", "level": "critical", "exception": f"{TRACEBACK}"})


@pytest.mark.parametrize(
    ("log", "words", "error"),
    [
        ([READ, TRACEBACK, METRIC, METRIC], "OSError: [Errno 98] in use", "OSError: [Errno 98] in use"),
        (
            [DIED, SPAN, METRIC],
            "a part died: OSError: [Errno 98] in use",
            "a part died: OSError: [Errno 98] in use",
        ),
        (
            ["hundi: settings are not usable", METRIC],
            "hundi: settings are not usable",
            "hundi: settings are not usable",
        ),
        (["9:M 01 Dec 2026 02:59:37.505 * Ready to accept connections tcp"], "it said nothing", ""),
        (
            [
                "2026-12-01 03:01:04 UTC [9] FATAL:  data directory is gone",
                "2026-12-01 UTC [9] LOG:  shut down",
            ],
            "2026-12-01 03:01:04 UTC [9] FATAL:  data directory is gone",
            "2026-12-01 03:01:04 UTC [9] FATAL:  data directory is gone",
        ),
        (["100% broken", METRIC], "100% broken", ""),
        ([READ, METRIC], "span_file_read", ""),
        ([METRIC], "it said nothing", ""),
        ([], "it said nothing", ""),
    ],
)
def test_the_last_error_is_found_among_metrics(
    tmp_path: Path, log: list[str], words: str, error: str
) -> None:
    file = tmp_path / "api.log"
    file.write_text("\n".join(log) + "\n")
    assert (last_words(file), last_error(file)) == (words, error)


def test_how_a_process_ended_is_read_of_its_own_name(tmp_path: Path) -> None:
    log = tmp_path / "supervisord.log"
    log.write_text(
        "2026-12-01 02:59:31,001 WARN exited: api (terminated by SIGSEGV; not expected)\n"
        "2026-12-01 02:59:32,001 WARN exited: order-worker-0 (exit status 1; not expected)\n"
        "2026-12-01 02:59:33,001 INFO spawned: 'api' with pid 7\n"
    )
    assert how_it_ended(log, "api") == "terminated by SIGSEGV"
    assert how_it_ended(log, "order-worker-0") == "exit status 1"
    assert how_it_ended(log, "order-worker") == ""
