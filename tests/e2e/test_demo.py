"""`hundi demo` and `hundi fix` as a person runs them, on the running market."""

import os
import re
import subprocess
import sys

from tests.support.market import Market


def hundi(market: Market, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = os.environ | {
        "HUNDI_DATA_DIR": str(market.settings.data_dir),
        "HUNDI_PORT_OFFSET": str(market.settings.port_offset),
    }
    command = [sys.executable, "-m", "cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=110, check=False)


def test_the_demo_ends_with_books_that_agree_with_the_exchange(market: Market) -> None:
    shown = hundi(market, "demo")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for step in ("executed at once", "filled by", "is cancelled", "is refused", "agree with the exchange"):
        assert step in shown.stdout
    order_id = re.search(r"11=(\d{15})", shown.stdout)
    assert order_id is not None
    wire = hundi(market, "fix", order_id[1])
    assert (wire.returncode, "NewOrderSingle" in wire.stdout) == (0, True)


def test_an_order_that_was_never_on_the_wire_is_said_in_one_sentence(market: Market) -> None:
    wire = hundi(market, "fix", "991231999999999")
    assert (wire.returncode, wire.stderr.strip()) == (
        1,
        "hundi: the wire log has no message of order 991231999999999",
    )
