"""The process of one simulated exchange: `hundi simulator NSE`.

Puts the parts together: instrument master, the day's SPAN file, matching thread, FIX acceptor, tick feed.
Ready when its FIX port answers. Ends on SIGTERM or SIGINT after the batch in hand; a kill is as good, the
journal remembers.
"""

import os
import signal
import sys
import time
from collections.abc import Mapping
from datetime import time as clock
from datetime import timedelta
from pathlib import Path
from threading import Thread

from config.settings import Settings, settings
from domain.instruments import Instrument
from domain.reports import Report
from domain.time import NANOS, ist_ns, trade_date
from exchange.feed import FeedLine, feed_address, feed_port
from exchange.files.master import read_master
from exchange.simulator import control
from exchange.simulator.acceptor import Acceptor
from exchange.simulator.clearing.span_publisher import publish_span
from exchange.simulator.market import Market, Stop
from exchange.simulator.tape import FeedSocket
from workers.series_roll import end_at_next_roll


def main(exchange: str) -> None:
    """Run until told to stop."""
    config = settings().require("fix_secret")
    if exchange not in config.exchanges:
        sys.exit(f"hundi: {exchange[:10]!r} is none of the exchanges {', '.join(config.exchanges)}")
    end_at_next_roll()
    _serve(config, exchange)


def _serve(config: Settings, exchange: str) -> None:
    def send(session: str, report: Report, poss_resend: bool) -> None:
        acceptor.send(session, report, poss_resend)

    lines = [feed_address(config, exchange, line) for line in (FeedLine.A, FeedLine.B)]
    feed = FeedSocket(config.host, lines, feed_port(config, exchange, FeedLine.SNAPSHOT))
    by_calendar = config.market_hours == "calendar"
    master = read_master(exchange)
    publish_span(exchange, master, config.risk_files, time.time_ns())
    Thread(target=_publish_daily, args=(exchange, master, config.risk_files), daemon=True).start()
    here, seed, trades = config.data_dir, config.market_seed, config.trade_files
    market = Market(exchange, master, here, seed, send, feed, by_calendar, trades, config.market_pace)
    port = config.port("fix", config.exchanges.index(exchange))
    store = config.data_dir / f"simulator-{exchange}" / "fix"
    acceptor = Acceptor(exchange, (config.host, port), config.fix_key, store, market.inbox)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: market.inbox.put(Stop()))
    market.recover()
    control.serve(config.data_dir / f"simulator-{exchange}" / "control.sock", market.inbox.put)
    acceptor.start()
    market.run()
    # Every answer and sequence number is on the disk already, and QuickFIX's own stop() can crash.
    os._exit(0)


def _publish_daily(exchange: str, master: Mapping[str, Instrument], folder: Path) -> None:
    """A risk file as each calendar day begins: the embedded market trades at any hour."""
    while True:
        now_ns = time.time_ns()
        midnight_ns = ist_ns(trade_date(now_ns) + timedelta(1), clock.min)
        time.sleep((midnight_ns - now_ns) / NANOS + 1)
        publish_span(exchange, master, folder, time.time_ns())
