"""What a polling client says, by POST: its packets followed one after the other at a measured pace.

python-engineio follows sixteen and loses all of a body with more, without a word; here a body is followed
whole or refused with an answer, and the session of whoever is refused ends. Its GETs stay python-engineio's.
Used by realtime/stream/socket_io.py.
"""

import time
from collections import deque
from http import HTTPStatus
from urllib.parse import parse_qs

from engineio.async_socket import AsyncSocket
from engineio.packet import NOOP, Packet
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response

from realtime.problems import document
from realtime.stream.messages import MessageRefused
from realtime.websocket.connection import FRAME_BYTES
from realtime.websocket.engineio_driver import Driver

PACKETS_MAX = 1_000
"""In one body; a client that says more at once would not wait for the answer."""
_SEPARATOR = "\x1e"


async def follow_post(driver: Driver, socket: AsyncSocket, request: Request) -> Response | None:
    """The answer; None for a client that is gone."""
    try:
        packets = deque(_packets(await request.body()))
        while packets:
            await socket.queue.pace.keep(1 + len(packets[0]) / FRAME_BYTES)
            if socket.closing:
                raise MessageRefused("SESSION_ENDED", "The session has ended, and not all was followed.")
            if socket.last_ping:
                # It is heard, though its pong may wait in the next body.
                socket.last_ping = time.time()
            await driver.follow(socket, packets.popleft())
    except ClientDisconnect:
        return None
    except MessageRefused as refusal:
        await driver.end(socket.sid, refusal)
        return document(HTTPStatus.BAD_REQUEST, refusal.detail, refusal.code)
    if socket.closed:
        # The client said goodbye: its poll, which waits for a packet, is answered as the protocol asks.
        socket.queue.put_nowait(Packet(NOOP))
    return PlainTextResponse("ok")


def _packets(body: bytes) -> list[str]:
    """Raises Refused."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        raise MessageRefused("FRAME_INVALID", "A body is text in UTF-8.") from None
    if text.startswith("d="):
        # JSONP, of old browsers.
        text = parse_qs(text).get("d", [""])[0]
    packets = text.split(_SEPARATOR)
    if len(packets) > PACKETS_MAX:
        raise MessageRefused("TOO_MANY_PACKETS", f"A body has at most {PACKETS_MAX} packets.")
    return packets
