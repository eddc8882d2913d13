"""A FIX counterparty in plain text: writes each field by hand, so it shares no code with what it tests."""

import hashlib
import hmac
import socket
import time
from datetime import UTC, datetime

SOH = "\x01"


class FixText:
    """One session over TCP. Messages are dicts tag -> value; `begin` is FIX.4.2 or FIXT.1.1."""

    def __init__(self, port: int, begin: str, sender: str, target: str, next_out: int, key: str) -> None:
        self.begin, self.sender, self.target, self.next_out = begin, sender, target, next_out
        self._key = key
        self._buffer = b""
        self._socket = _connect(port)
        self._socket.settimeout(10)

    def logon(self) -> dict[int, str]:
        """Signed, and answered."""
        self.send_logon(self._key)
        return self.expect("A")

    def send_logon(self, key: str | None) -> bytes:
        """The bytes that went out."""
        version = {1137: "9"} if self.begin == "FIXT.1.1" else {}
        at = stamp()
        said = f"{self.sender}|{self.target}|{self.next_out}|{at}".encode()
        proof = "" if key is None else hmac.new(key.encode(), said, hashlib.sha256).hexdigest()
        signed = {95: str(len(proof)), 96: proof} if proof else {}
        return self.send("A", {98: "0", 108: "30", **signed, **version}, {52: at})

    def send(self, kind: str, fields: dict[int, str], header: dict[int, str] | None = None) -> bytes:
        head = {35: kind, 34: str(self.next_out), 49: self.sender, 52: stamp(), 56: self.target}
        self.next_out += 1
        body = "".join(f"{tag}={value}{SOH}" for tag, value in {**head, **(header or {}), **fields}.items())
        text = f"8={self.begin}{SOH}9={len(body)}{SOH}{body}".encode()
        text += f"10={sum(text) % 256:03d}{SOH}".encode()
        self._socket.sendall(text)
        return text

    def expect(self, kind: str, **_: object) -> dict[int, str]:
        """The next message of a kind; others of the session layer and phases are passed over."""
        while True:
            message = self.receive()
            if message[35] == kind:
                return message
            assert message[35] in {"0", "1", "h", "A"}, message

    def receive(self) -> dict[int, str]:
        while (end := self._end()) < 0:
            chunk = self._socket.recv(65536)
            assert chunk, "the counterparty hung up"
            self._buffer += chunk
        text, self._buffer = self._buffer[:end].decode(), self._buffer[end:]
        pairs = [field.partition("=") for field in text.split(SOH) if field]
        return {int(tag): value for tag, _, value in pairs}

    def close(self) -> None:
        self._socket.close()

    def _end(self) -> int:
        at = self._buffer.find(b"\x0110=")
        stop = self._buffer.find(b"\x01", at + 1) if at >= 0 else -1
        return stop + 1 if stop >= 0 else -1


def stamp() -> str:
    return f"{datetime.now(UTC):%Y%m%d-%H:%M:%S.%f}"[:-3]


def _connect(port: int) -> socket.socket:
    deadline = time.monotonic() + 20
    while True:
        try:
            return socket.create_connection(("127.0.0.1", port), 1)
        except OSError:
            assert time.monotonic() < deadline, f"nothing answers at port {port}"
            time.sleep(0.05)
