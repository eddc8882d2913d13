"""A wire of the stream that keeps what a client was told, for tests of the parts behind the fronts."""

import msgspec

from realtime.stream.clients import Closing
from tests.support.stream import Told


class KeptWire(Told):
    """It is never behind unless a test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.is_behind = False
        self.closings: list[Closing] = []

    def send(self, event: str, body: bytes) -> None:
        self.all.append((event, msgspec.json.decode(body)))

    push = send

    def push_list(self, event: str, elements: bytes) -> None:
        self.push(event, b"[" + elements + b"]")

    def close(self, closing: Closing) -> None:
        self.closings.append(closing)
