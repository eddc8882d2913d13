"""A request for a WebSocket and its answer (RFC 6455, section 4). Used by
realtime/websocket/connection.py."""

from http import HTTPStatus

from websockets.http11 import Request
from websockets.server import ServerProtocol

RETRY_SECONDS = 10
"""After which a client that is one too many may come again."""


class Handshake:
    """Of the whole head of a request. Raises ValueError for what is none."""

    __slots__ = ("_protocol", "_request", "path", "query")

    def __init__(self, head: bytes) -> None:
        self._protocol = ServerProtocol()
        self._protocol.receive_data(head)
        request = next(iter(self._protocol.events_received()), None)
        if not isinstance(request, Request):
            raise ValueError("no request for a WebSocket")
        self._request = request
        self.path, _, self.query = request.path.partition("?")

    @property
    def forwarded_for(self) -> list[str]:
        """Whom proxies say they ask for; anyone can say so."""
        return self._request.headers.get_all("X-Forwarded-For")

    def accept(self) -> tuple[bytes, bool]:
        """The answer, and whether it opens a WebSocket: a request may turn out not to be a right one."""
        response = self._protocol.accept(self._request)
        return response.serialize(), response.status_code == HTTPStatus.SWITCHING_PROTOCOLS

    def refuse(self, status: HTTPStatus, detail: str) -> bytes:
        """The answer that opens none."""
        response = self._protocol.reject(status, detail)
        if status is HTTPStatus.TOO_MANY_REQUESTS:
            response.headers["Retry-After"] = str(RETRY_SECONDS)
        return response.serialize()
