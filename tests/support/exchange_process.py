"""One simulator process of its own data directory and ports, spoken to in hand-written FIX."""

import csv
import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from config.settings import Settings
from exchange.feed import FeedLine, feed_port
from exchange.simulator import control
from tests.support.fix_text import FixText

SESSIONS = {"FIXT.1.1": "HUNDI01", "FIX.4.2": "HUNDI02"}


class Exchange:
    def __init__(self, data_dir: Path) -> None:
        self.settings = Settings(data_dir=data_dir, port_offset=_free_offset())
        self.next_out = dict.fromkeys(SESSIONS, 1)
        self._clients: list[FixText] = []
        self.start()

    def start(self) -> None:
        environment = os.environ | {
            "HUNDI_DATA_DIR": str(self.settings.data_dir),
            "HUNDI_PORT_OFFSET": str(self.settings.port_offset),
        }
        program = "from workers.simulator import main; main('NSE')"
        self.process = subprocess.Popen([sys.executable, "-c", program], env=environment)

    def kill(self) -> None:
        self.disconnect()
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self) -> int:
        self.disconnect()
        self.process.terminate()
        return self.process.wait(20)

    def connect(self, begin: str) -> FixText:
        client = self.called(begin)
        client.logon()
        return client

    def called(self, begin: str) -> FixText:
        """A connection that has not said anything."""
        port, key = self.settings.port("fix"), self.settings.fix_key
        client = FixText(port, begin, SESSIONS[begin], "NSE", self.next_out[begin], key)
        self._clients.append(client)
        return client

    def disconnect(self) -> None:
        for client in self._clients:
            self.next_out[client.begin] = client.next_out
            client.close()
        self._clients.clear()

    def ask(self, **command: Any) -> dict[str, Any]:
        """The control socket's answer."""
        return control.ask(self.settings.data_dir, "NSE", **command)

    def trades(self) -> list[dict[str, str]]:
        files = sorted(self.settings.data_dir.glob("exchange-NSE-trades-*.csv"))
        return [row for file in files for row in csv.DictReader(file.open())]


def _free_offset() -> int:
    """An offset at which the FIX port and the snapshot port are free now."""
    for offset in range(20_500 + os.getpid() % 100 * 50, 40_000, 50):
        settings = Settings(port_offset=offset)
        with (
            socket.socket() as fix,
            socket.socket(type=socket.SOCK_DGRAM) as snapshots,
            suppress(OSError),
        ):
            fix.bind(("127.0.0.1", settings.port("fix")))
            snapshots.bind(("127.0.0.1", feed_port(settings, "NSE", FeedLine.SNAPSHOT)))
            return offset
    raise RuntimeError("no free port")
