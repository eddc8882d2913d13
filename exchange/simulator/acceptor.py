"""The wire of the simulator: QuickFIX sessions in FIX 4.2 and FIX 5.0 SP2, requests in, reports out.

Callbacks only decode and queue; the matching thread answers. A message that cannot be read is answered by
BusinessMessageReject (j) and changes nothing. Sequence numbers and messages are kept in a file store, so a
broker that was away asks for what it missed.
"""

from pathlib import Path
from queue import SimpleQueue

import quickfix

from domain.reports import Report
from exchange.fix import logon
from exchange.fix.codec import CodecError, FixBody, FixVersion, decode, encode
from exchange.fix.listener import a_free_port, listening_at
from exchange.fix.quickfix_bridge import (
    FixSession,
    acceptor_settings,
    from_message,
    poss_dup,
    poss_resend,
    sequence_number,
    to_message,
    version_of,
)
from exchange.simulator.market import Item, LoggedOn, MarketRequest

BROKERS = ((FixVersion.FIX50SP2, "HUNDI01"), (FixVersion.FIX42, "HUNDI02"))
"""The members that may log on, and the version each speaks."""
_UNSUPPORTED = "3"
_UNREADABLE = "0"


class Acceptor(quickfix.Application):  # type: ignore[misc]
    """FIX sessions of one exchange, for members who prove that they know the `key`."""

    def __init__(
        self, exchange: str, address: tuple[str, int], key: str, store: Path, inbox: SimpleQueue[Item]
    ) -> None:
        super().__init__()
        self._inbox, self._address, self._key = inbox, address, key
        sessions = [FixSession(version, exchange, broker) for version, broker in BROKERS]
        self._sessions = {session.name: session for session in sessions}
        store.mkdir(parents=True, exist_ok=True)
        settings_path = store / "acceptor.cfg"
        settings_path.write_text(acceptor_settings(sessions, a_free_port(), store))
        settings = quickfix.SessionSettings(str(settings_path))
        # QuickFIX keeps references, not copies: the factory must outlive the acceptor.
        self._stores = quickfix.FileStoreFactory(settings)
        self._acceptor = quickfix.SocketAcceptor(self, self._stores, settings)

    def start(self) -> None:
        """Raises SystemExit with one sentence when the address is taken."""
        with listening_at(*self._address):
            self._acceptor.start()

    def send(self, session: str, report: Report, poss_resend: bool) -> None:
        """Store the report in its session's sequence and send it if the broker is there."""
        to = self._sessions[session]
        message = to_message(encode(report, to.version), to.version, poss_resend=poss_resend)
        quickfix.Session.sendToTarget(message, to.id)

    def fromApp(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None:
        body, version = from_message(message), version_of(session_id)
        try:
            request = decode(body, version)
        except CodecError as error:
            self._refuse(message, body, session_id, str(error))
            return
        if isinstance(request, Report):
            self._refuse(message, body, session_id, "a broker does not send reports", _UNSUPPORTED)
            return
        repeated = poss_dup(message) or poss_resend(message)
        self._inbox.put(MarketRequest(self._name(session_id), request, repeated))

    def onLogon(self, session_id: quickfix.SessionID) -> None:
        self._inbox.put(LoggedOn(self._name(session_id)))

    def onCreate(self, session_id: quickfix.SessionID) -> None: ...

    def onLogout(self, session_id: quickfix.SessionID) -> None: ...

    def toAdmin(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None: ...

    def fromAdmin(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None:
        if logon.is_logon(message) and not logon.is_signed(message, self._key):
            raise quickfix.RejectLogon("the credentials of the logon are not valid")

    def toApp(self, message: quickfix.Message, session_id: quickfix.SessionID) -> None: ...

    def _name(self, session_id: quickfix.SessionID) -> str:
        version = version_of(session_id)
        sender, target = session_id.getSenderCompID().getString(), session_id.getTargetCompID().getString()
        return FixSession(version, sender, target).name

    def _refuse(
        self,
        message: quickfix.Message,
        body: FixBody,
        session_id: quickfix.SessionID,
        text: str,
        reason: str = _UNREADABLE,
    ) -> None:
        refused = ((45, str(sequence_number(message))), (372, body.msg_type), (380, reason), (58, text))
        version = version_of(session_id)
        quickfix.Session.sendToTarget(to_message(FixBody("j", refused), version), session_id)
