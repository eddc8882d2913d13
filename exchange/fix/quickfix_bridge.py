"""Between the pure codec and QuickFIX: messages, header flags and the text of session settings.

Sessions are persistent: sequence numbers are never reset, so a ResendRequest can fetch everything a
restart missed. The only module besides the gateway and the simulator that knows QuickFIX's types.
"""

import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import quickfix

from exchange.fix.codec import FixBody, FixVersion

SOH = "\x01"
HEADER_AND_TRAILER = frozenset(
    (8, 9, 35, 34, 43, 49, 50, 52, 56, 57, 97, 115, 116, 122, 128, 129, 142, 143, 144, 145, 369, 1128, 10)
)
BEGIN_STRING = {FixVersion.FIX42: "FIX.4.2", FixVersion.FIX50SP2: "FIXT.1.1"}
DICTIONARIES = Path(sys.prefix) / "share" / "quickfix"
MSG_SEQ_NUM, MSG_TYPE, POSS_DUP, POSS_RESEND = 34, 35, 43, 97


@dataclass(frozen=True, slots=True)
class FixSession:
    """One session as our side names it."""

    version: FixVersion
    sender: str
    target: str

    @property
    def name(self) -> str:
        """Its name in the journals, such as `FIXT.1.1:HUNDI01->NSE`; QuickFIX's own form."""
        return f"{BEGIN_STRING[self.version]}:{self.sender}->{self.target}"

    @property
    def id(self) -> quickfix.SessionID:
        return quickfix.SessionID(BEGIN_STRING[self.version], self.sender, self.target)


def version_of(session_id: quickfix.SessionID) -> FixVersion:
    """The application version a session speaks."""
    begin = session_id.getBeginString().getString()
    return FixVersion.FIX42 if begin == BEGIN_STRING[FixVersion.FIX42] else FixVersion.FIX50SP2


def to_message(body: FixBody, version: FixVersion, *, poss_resend: bool = False) -> quickfix.Message:
    """A message ready for Session.sendToTarget; `poss_resend` sets PossResend=Y (97)."""
    message = quickfix.Message()
    header = message.getHeader()
    header.setField(8, BEGIN_STRING[version])
    header.setField(MSG_TYPE, body.msg_type)
    if poss_resend:
        header.setField(POSS_RESEND, "Y")
    for tag, value in body.fields:
        message.setField(tag, value)
    return message


def from_message(message: quickfix.Message) -> FixBody:
    """The application fields of a received message."""
    return from_text(message.toString())


def from_text(text: str) -> FixBody:
    """The application fields of a message as it was on the wire."""
    pairs = [(int(tag), value) for tag, _, value in (pair.partition("=") for pair in text.split(SOH)) if tag]
    msg_type = next(value for tag, value in pairs if tag == MSG_TYPE)
    return FixBody(msg_type, tuple(pair for pair in pairs if pair[0] not in HEADER_AND_TRAILER))


def sequence_number(message: quickfix.Message) -> int:
    return int(message.getHeader().getField(MSG_SEQ_NUM))


def poss_dup(message: quickfix.Message) -> bool:
    """The session resent this message under its old number (43)."""
    return _flag(message, POSS_DUP)


def poss_resend(message: quickfix.Message) -> bool:
    """The application repeats itself under a new number (97): it may already have been heard."""
    return _flag(message, POSS_RESEND)


def _flag(message: quickfix.Message, tag: int) -> bool:
    header = message.getHeader()
    return bool(header.isSetField(tag)) and header.getField(tag) == "Y"


def initiator_settings(sessions: Iterable[tuple[FixSession, str, int]], store: Path, wire_log: Path) -> str:
    """Settings text of an initiator: (session, host, port) each; `store` keeps the sequence numbers."""
    head = ["ConnectionType=initiator", "ReconnectInterval=1", "LogonTimeout=5", "LogoutTimeout=2"]
    head += [f"FileLogPath={wire_log}"]
    return _settings(head, store, [(s, _connect(host, port)) for s, host, port in sessions])


def acceptor_settings(sessions: Iterable[FixSession], port: int, store: Path) -> str:
    """Settings text of an acceptor for sessions named from its own side (`sender` is the exchange).

    It listens on every address: start it inside `listener.listening_at`.
    """
    head = [
        "ConnectionType=acceptor",
        f"SocketAcceptPort={port}",
        "SocketReuseAddress=Y",
    ]
    return _settings(head, store, [(session, []) for session in sessions])


def _connect(host: str, port: int) -> list[str]:
    return [f"SocketConnectHost={host}", f"SocketConnectPort={port}"]


def _settings(head: list[str], store: Path, sessions: list[tuple[FixSession, list[str]]]) -> str:
    lines = [
        "[DEFAULT]",
        *head,
        f"FileStorePath={store}",
        "NonStopSession=Y",
        "HeartBtInt=10",
        "SocketNodelay=Y",
        "PersistMessages=Y",
        "ResetOnLogon=N",
        "ResetOnLogout=N",
        "ResetOnDisconnect=N",
        "UseDataDictionary=Y",
    ]
    for session, connection in sessions:
        lines += ["[SESSION]", f"SenderCompID={session.sender}", f"TargetCompID={session.target}"]
        lines += [
            f"BeginString={BEGIN_STRING[session.version]}",
            *_dictionaries(session.version),
            *connection,
        ]
    return "\n".join(lines) + "\n"


def _dictionaries(version: FixVersion) -> list[str]:
    if version is FixVersion.FIX42:
        return [f"DataDictionary={DICTIONARIES / 'FIX42.xml'}", "TimestampPrecision=3"]
    return [
        "DefaultApplVerID=FIX.5.0SP2",
        f"TransportDataDictionary={DICTIONARIES / 'FIXT11.xml'}",
        f"AppDataDictionary={DICTIONARIES / 'FIX50SP2.xml'}",
        "TimestampPrecision=9",
    ]
