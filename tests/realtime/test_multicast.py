"""Multicast groups of both lines, in a network namespace of its own: nothing leaves the machine."""

import subprocess
import sys
from pathlib import Path

NAMESPACE = ["unshare", "--map-root-user", "--net", "sh", "-c"]
PROGRAM = """
from config.settings import Settings
from exchange.feed import FeedLine
from tests.support.feed import Sender, a_handler, some_records
from tests.support.eventually import eventually
import asyncio

settings = Settings(feed_groups=("239.255.7.1", "239.255.7.2"))
handler, sender = a_handler(settings, [1, 2]), Sender(settings)

def taken():
    handler.poll(0)
    return handler.counts.datagrams

async def main():
    sender.ticks(some_records({1: 100}))
    await eventually(lambda: taken() == 2)
    sender.ticks(some_records({2: 200}), lines=[FeedLine.B])
    await eventually(lambda: taken() == 3)

asyncio.run(main())
print(handler.counts.datagrams, handler.counts.packets, handler.counts.ticks)
"""


def test_each_line_is_heard_on_its_multicast_group() -> None:
    ready = 'ip link set lo up multicast on && ip route add 239.0.0.0/8 dev lo && exec "$@"'
    done = subprocess.run(
        [*NAMESPACE, ready, "sh", sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[2],
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-3:] == ["3", "2", "2"], done.stdout
