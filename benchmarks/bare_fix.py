"""The ceiling of the bell: a bare QuickFIX send loop, one session, file store, to one who only reads.

Both ends in processes of their own, as the gateway and the exchange are. Called by benchmarks/bell.py.
"""

import tempfile
import time
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import quickfix

from exchange.fix.codec import FixVersion
from exchange.fix.listener import a_free_port, listening_at
from exchange.fix.quickfix_bridge import BEGIN_STRING, FixSession, acceptor_settings, initiator_settings

BROKER = FixSession(FixVersion.FIX50SP2, "BARE", "COUNTER")
COUNTER = FixSession(FixVersion.FIX50SP2, "COUNTER", "BARE")
LOGON_SECONDS = 20.0
_FIELDS = ((1, "DEMO0001"), (55, "RELIANCE"), (54, "1"), (38, "1"), (40, "2"), (59, "0"), (44, "2450.00"))


class _Silent(quickfix.Application):  # type: ignore[misc]
    """Counts what arrives."""

    def __init__(self) -> None:
        super().__init__()
        self.heard = 0

    def onCreate(self, _: Any) -> None: ...
    def onLogon(self, _: Any) -> None: ...
    def onLogout(self, _: Any) -> None: ...
    def toAdmin(self, *_: Any) -> None: ...
    def fromAdmin(self, *_: Any) -> None: ...
    def toApp(self, *_: Any) -> None: ...

    def fromApp(self, *_: Any) -> None:
        self.heard += 1


def rate(host: str, port: int, times: int) -> float:
    """Sends a second; blocks. Raises TimeoutError when the two do not find each other."""
    context = get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="hundi-bare-") as scratch:
        ended = context.Event()
        where = Path(scratch) / "counter"
        listening = context.Process(target=_listen, args=(host, port, where, ended))
        listening.start()
        try:
            return _send(host, port, Path(scratch) / "broker", times)
        finally:
            ended.set()
            listening.join(10)


def _send(host: str, port: int, store: Path, times: int) -> float:
    store.mkdir()
    settings = quickfix.SessionSettings()
    settings.setFromString(initiator_settings([(BROKER, host, port)], store, store))
    application, stores = _Silent(), quickfix.FileStoreFactory(settings)
    initiator = quickfix.SocketInitiator(application, stores, settings)
    initiator.start()
    session_id = BROKER.id
    deadline = time.monotonic() + LOGON_SECONDS
    while not quickfix.Session.lookupSession(session_id).isLoggedOn():
        if time.monotonic() > deadline:
            raise TimeoutError("the bare counterparty does not log on")
        time.sleep(0.05)
    began = time.perf_counter()
    for number in range(times):
        message = quickfix.Message()
        header = message.getHeader()
        header.setField(8, BEGIN_STRING[BROKER.version])
        header.setField(35, "D")
        message.setField(11, str(number))
        for tag, value in _FIELDS:
            message.setField(tag, value)
        message.setField(60, "20261124-09:15:00.000000000")
        quickfix.Session.sendToTarget(message, session_id)
    took = time.perf_counter() - began
    initiator.stop()
    return times / took


def _listen(host: str, port: int, store: Path, ended: Any) -> None:
    store.mkdir()
    path = store / "acceptor.cfg"
    path.write_text(acceptor_settings([COUNTER], a_free_port(), store))
    settings = quickfix.SessionSettings(str(path))
    application, stores = _Silent(), quickfix.FileStoreFactory(settings)
    acceptor = quickfix.SocketAcceptor(application, stores, settings)
    with listening_at(host, port):
        acceptor.start()
    ended.wait()
    acceptor.stop()
