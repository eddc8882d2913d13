"""`hundi status` and `hundi fix` on a terminal of 80 columns: nothing is cut, no line is longer."""

import io
import os
import time

import msgspec
from redis import Redis
from rich.console import Console

from bus.health import Health
from cli.fix import wire_message
from config.settings import Settings
from exchange.fix.wire_log import WireMessage
from tests.support.command_line import hundi

DETAIL = (
    "4 of 4 sessions: FIXT.1.1:HUNDI01->NSE, FIX.4.2:HUNDI02->NSE, "
    "FIXT.1.1:HUNDI01->BSE, FIX.4.2:HUNDI02->BSE"
)
FIELDS = (
    (35, "D"),
    (49, "HUNDI02"),
    (56, "NSE"),
    (11, "261201000001000"),
    (55, "RELIANCE"),
    (60, "20261201-02:58:55.865141000"),
    (17, "20261201000000444B"),
    (58, "a text that is longer than what is left of the line on which it begins"),
)


def test_status_fits_into_80_columns_with_nothing_cut(servers: Settings) -> None:
    since_ns = time.time_ns() - 100 * 3600 * 10**9
    health = msgspec.json.encode(Health(pid=os.getpid(), ready=True, since_ns=since_ns, detail=DETAIL))
    with Redis.from_url(servers.redis_dsn) as redis:
        redis.set("health:gateway", health, ex=30)
        shown = hundi(servers, "status")
        redis.delete("health:gateway")
    assert shown.returncode == 0, shown.stderr
    rows = shown.stdout.splitlines()
    assert max(map(len, rows)) <= 80
    assert "…" not in shown.stdout
    assert all(word in shown.stdout for word in DETAIL.replace(",", "").split())
    row = next(row for row in rows if row.startswith("gateway"))
    assert row.split()[:6] == ["gateway", "healthy", str(os.getpid()), "4", "d", "4"]
    assert f"{servers.host}:{servers.port('postgres')}" in shown.stdout


def test_a_wire_message_breaks_between_fields_and_not_in_them() -> None:
    out = io.StringIO()
    Console(file=out, width=80).print(wire_message(WireMessage("20261201-02:58:55.865141000", FIELDS)))
    head, *rest = out.getvalue().splitlines()
    assert head.split() == ["02:58:55.865141000", "HUNDI02", ">", "NSE", "NewOrderSingle"]
    assert max(map(len, rest)) <= 80
    words = " ".join(rest).split()
    assert {"11=261201000001000", "60=20261201-02:58:55.865141000", "17=20261201000000444B"} <= set(words)
