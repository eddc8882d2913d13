"""The line to the exchanges: QuickFIX sessions and the way from their threads into the event loop.

Invariant: a session starts at the first inbound number that is not durable with us, so the exchange
resends the rest (FIX ResendRequest); `fromApp` itself may return at once. QuickFIX swallows nothing: a
message the codec refuses is handed on as unreadable. Called by workers/gateway.py.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import quickfix
import structlog

from domain.instructions import Instruction
from domain.reports import ExecType
from exchange.fix import logon
from exchange.fix.codec import CodecError, decode, encode
from exchange.fix.quickfix_bridge import (
    BEGIN_STRING,
    SOH,
    FixSession,
    from_text,
    initiator_settings,
    sequence_number,
    to_message,
)
from exchange.gateway.reject_breaker import RejectBreaker
from storage.journals.inbox_rows import Arrival, Unreadable

HEARTBEAT, TEST_REQUEST, SESSION_REJECT, TEST_REQ_ID = "0", "1", "3", 112
MSG_TYPE, EXEC_TYPE = 35, 150
EXECUTION_REPORT = "8"
_OF_AN_ORDER = frozenset({EXECUTION_REPORT, "9"})
READ_AT_ONCE = 100
PROBE = "BREAKER"
PROBE_SECONDS = 1.0
_ANSWERS = frozenset({ExecType.NEW, ExecType.REJECTED})
log = structlog.get_logger()


@dataclass(slots=True)
class FixLink:
    """One session and what the loop knows of it."""

    session: FixSession
    exchange: str
    port: int
    breaker: RejectBreaker
    logged_on_at: float | None = None
    """Monotonic seconds; None while it is away."""

    @property
    def carries(self) -> bool:
        """Orders may be sent on it now."""
        return self.logged_on_at is not None and not self.breaker.is_paused


@dataclass(frozen=True, slots=True)
class RawMessage:
    """A message as it was on the wire: reading it is not done on QuickFIX's threads."""

    trunk: FixLink
    received_at_ns: int
    msg_seq_num: int
    text: str

    def read(self) -> Arrival:
        try:
            report: Any = decode(from_text(self.text), self.trunk.session.version)
        except CodecError as error:
            report = Unreadable(self.text.replace(SOH, "|"), str(error))
        session = self.trunk.session.name
        return Arrival(self.trunk.exchange, session, self.msg_seq_num, report, self.received_at_ns)


class FixEngine(quickfix.Application):  # type: ignore[misc]
    """All sessions of the process. The callbacks come on QuickFIX's threads, `on_*` on the loop."""

    def __init__(
        self,
        trunks: Sequence[FixLink],
        on_arrival: Callable[[Arrival], None],
        on_logon: Callable[[FixLink], None],
        key: str,
    ) -> None:
        super().__init__()
        self._key = key
        self._loop = asyncio.get_running_loop()
        self._trunks = {trunk.session.name: trunk for trunk in trunks}
        self._on_arrival = on_arrival
        self._on_logon = on_logon
        self._held = False
        self._unread: deque[RawMessage] = deque()
        self._on_other_word: Callable[[], None] = lambda: None
        self._initiator: Any = None
        self._kept: tuple[Any, ...] = ()

    def open(self, host: str, store: Path, wire_log: Path, next_inbound: dict[str, int]) -> None:
        """Connect every session, set to the number from which the exchange shall resend."""
        sessions = [(t.session, host, t.port) for t in self._trunks.values()]
        text = initiator_settings(sessions, store, wire_log)
        settings = quickfix.SessionSettings()
        settings.setFromString(text)
        factory = quickfix.FileStoreFactory(settings)
        logs = quickfix.FileLogFactory(settings)
        self._initiator = quickfix.SocketInitiator(self, factory, settings, logs)
        # QuickFIX keeps plain pointers: these must outlive the initiator.
        self._kept = (settings, factory, logs)
        for name, trunk in self._trunks.items():
            quickfix.Session.lookupSession(trunk.session.id).setNextTargetMsgSeqNum(next_inbound[name])
        self._initiator.start()

    def close(self) -> None:
        """Log out of every session; blocks for at most a few seconds."""
        if self._initiator is not None:
            self._initiator.stop()
            self._initiator = None  # before its factory, whatever the interpreter's end would choose

    def send(self, name: str, instruction: Instruction, *, poss_resend: bool) -> bool:
        """Hand one instruction to its session; False: it did not take it.

        Raises CodecError when the instruction cannot be said in FIX.
        """
        session = self._trunks[name].session
        message = to_message(encode(instruction, session.version), session.version, poss_resend=poss_resend)
        return bool(quickfix.Session.sendToTarget(message, session.id))

    def _probe(self, session: FixSession) -> None:
        """A TestRequest; its Heartbeat resumes a paused session."""
        message = quickfix.Message()
        message.getHeader().setField(8, BEGIN_STRING[session.version])
        message.getHeader().setField(35, TEST_REQUEST)
        message.setField(TEST_REQ_ID, PROBE)
        quickfix.Session.sendToTarget(message, session.id)

    # QuickFIX's threads --------------------------------------------------------------------------------

    def onCreate(self, session_id: quickfix.SessionID) -> None: ...

    def toAdmin(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None:
        if logon.is_logon(message):
            logon.sign(message, self._key)

    def toApp(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None: ...

    def onLogon(self, session_id: quickfix.SessionID) -> None:
        self._loop.call_soon_threadsafe(self._logged_on, session_id.toString())

    def onLogout(self, session_id: quickfix.SessionID) -> None:
        self._loop.call_soon_threadsafe(self._logged_out, session_id.toString())

    def fromAdmin(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None:
        kind = message.getHeader().getField(35)
        if kind == SESSION_REJECT:
            log.error(
                "session_reject", session=session_id.toString(), fix=message.toString().replace(SOH, "|")
            )
        if kind == HEARTBEAT and message.isSetField(TEST_REQ_ID) and message.getField(TEST_REQ_ID) == PROBE:
            self._loop.call_soon_threadsafe(self._alive, session_id.toString())

    def fromApp(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None:
        kind = message.getHeader().getField(MSG_TYPE)
        exec_type = message.getField(EXEC_TYPE) if kind == EXECUTION_REPORT else ""
        trunk = self._trunks[session_id.toString()]
        heard = RawMessage(trunk, time.time_ns(), sequence_number(message), message.toString())
        self._loop.call_soon_threadsafe(self._heard, heard, exec_type, kind in _OF_AN_ORDER)

    # The loop ------------------------------------------------------------------------------------------

    def hold(self, on_other_word: Callable[[], None]) -> None:
        """What comes is kept unread until `resume`: the sender has better things to do. The exchange's word
        on anything but an order, such as a halt, is told at once.
        """
        self._held, self._on_other_word = True, on_other_word

    def resume(self) -> None:
        self._held = False
        self._read_some()

    def _heard(self, heard: RawMessage, exec_type: str, of_an_order: bool) -> None:
        if exec_type in _ANSWERS:
            rejected = exec_type == ExecType.REJECTED
            if heard.trunk.breaker.answer(time.time_ns(), rejected=rejected):
                log.warning("session_paused", session=heard.trunk.session.name)
                self._loop.call_later(PROBE_SECONDS, self._probe_while_paused, heard.trunk)
        self._unread.append(heard)
        if self._held and not of_an_order:
            self._on_other_word()
        elif len(self._unread) == 1:
            self._read_some()

    def _read_some(self) -> None:
        """In the order in which they came, and not so many that the loop stands still."""
        try:
            for _ in range(READ_AT_ONCE):
                if self._held or not self._unread:
                    return
                self._on_arrival(self._unread.popleft().read())
        finally:
            if self._unread and not self._held:
                self._loop.call_soon(self._read_some)

    def _probe_while_paused(self, trunk: FixLink) -> None:
        if trunk.breaker.is_paused:
            if trunk.logged_on_at is not None:
                self._probe(trunk.session)
            self._loop.call_later(PROBE_SECONDS, self._probe_while_paused, trunk)

    def _logged_on(self, name: str) -> None:
        trunk = self._trunks[name]
        log.info("session_logged_on", session=name)
        trunk.logged_on_at = time.monotonic()
        self._on_logon(trunk)

    def _logged_out(self, name: str) -> None:
        log.info("session_logged_out", session=name)
        self._trunks[name].logged_on_at = None

    def _alive(self, name: str) -> None:
        trunk = self._trunks[name]
        if trunk.breaker.may_resume(time.time_ns()):
            trunk.breaker.resume()
            log.info("session_resumed", session=name)
            self._on_logon(trunk)
