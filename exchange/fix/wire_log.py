"""The wire log: every FIX message of the gateway's sessions as it was on the wire, kept in `logs/fix`.

QuickFIX writes it, one file a session, a line a message. It shows people what was said; nothing is decided
from it. Read by `hundi fix` and `hundi demo`.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from exchange.fix.quickfix_bridge import SOH

MESSAGE_NAMES = {
    "D": "NewOrderSingle",
    "F": "OrderCancelRequest",
    "G": "OrderCancelReplaceRequest",
    "H": "OrderStatusRequest",
    "8": "ExecutionReport",
    "9": "OrderCancelReject",
    "3": "Reject",
    "j": "BusinessMessageReject",
}
MSG_TYPE, SENDER, TARGET, CL_ORD_ID, ORIG_CL_ORD_ID = 35, 49, 56, 11, 41
_SESSION_LAYER = frozenset({8, 9, 10, 34, 35, 43, 49, 52, 56, 97, 122, 1128})


@dataclass(frozen=True, slots=True)
class WireMessage:
    """One message. `time` is UTC as QuickFIX wrote it, `20261124-06:52:24.230764372`."""

    time: str
    fields: tuple[tuple[int, str], ...]

    def field(self, tag: int) -> str | None:
        return next((value for number, value in self.fields if number == tag), None)

    @property
    def name(self) -> str:
        kind = self.field(MSG_TYPE) or "?"
        return MESSAGE_NAMES.get(kind, kind)

    @property
    def way(self) -> str:
        """`HUNDI01 > NSE`."""
        return f"{self.field(SENDER)} > {self.field(TARGET)}"

    @property
    def body(self) -> str:
        """What the application said, without the session layer: `11=... 55=...`."""
        return " ".join(f"{tag}={value}" for tag, value in self.fields if tag not in _SESSION_LAYER)


def directory(data_dir: Path) -> Path:
    return data_dir / "logs" / "fix"


def messages_of(data_dir: Path, order_id: str) -> list[WireMessage]:
    """Everything said about an order, its cancels and replaces, in the order of time."""
    found = [
        message
        for file in sorted(directory(data_dir).glob("*.messages.*.log"))
        for message in _read(file, order_id)
        if any(
            (message.field(tag) or "").partition("-")[0] == order_id for tag in (CL_ORD_ID, ORIG_CL_ORD_ID)
        )
    ]
    return sorted(found, key=lambda message: message.time)


def _read(file: Path, order_id: str) -> Iterator[WireMessage]:
    with file.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if order_id not in line:
                continue
            time, _, text = line.rstrip("\n").partition(" : ")
            pairs = [pair.partition("=") for pair in text.split(SOH) if pair]
            yield WireMessage(time, tuple((int(tag), value) for tag, _, value in pairs if tag.isdigit()))
