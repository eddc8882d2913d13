"""HTTP/1.1 as uvicorn reads it, with an end to each thing a client may make us wait for or keep.

A request comes in two parts, head and body, each within its bytes and seconds; then the application has it.
What breaks a limit, or is no HTTP, is answered with a problem document and the connection ends. Invariant: a
refusal is never written where the client would take it for the answer to an earlier request.
"""

import asyncio
from collections import deque
from enum import Enum
from functools import partial
from math import inf
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from workers.http_faults import (
    ADDRESS_FULL,
    BODY_TOO_LARGE,
    BUSY_UPGRADE,
    HEAD_TOO_LARGE,
    LATE,
    OUR_FAULT,
    PIPELINE_FULL,
    SERVER_FULL,
    Fault,
    unreadable,
)
from workers.http_limits import Connections


class Phase(Enum):
    """What is being read."""

    IDLE = "nothing: the application has all that came"
    HEAD = "request line and headers"
    BODY = "the body"
    GOODBYE = "nothing that is heard: the connection ends"


class LimitedProtocol(HttpToolsProtocol):
    """One connection, made by uvicorn as `partial(LimitedProtocol, known)`; `look` must be called often."""

    def __init__(self, known: Connections, **uvicorn: Any) -> None:
        super().__init__(**uvicorn)
        self._known, self._limits = known, known.limits
        self._phase, self._deadline = Phase.HEAD, inf
        self._unread_until = inf
        """When an answer has waited too long for the client to read it."""
        self._bytes = self._feed_bytes = self._body_bytes = 0
        """Of this request as they came, framing and all; of what is being parsed; of the body alone."""
        self._fault: Fault | None = None
        self._answering: RequestResponseCycle | None = None
        """The last request that the application was given; later ones wait in the pipeline."""
        self._is_proxy = self._is_turned_away = False
        self._names: deque[str] = deque()
        """To leave by: of the connection, or of each request that a proxy passed on."""

    # Told by uvicorn and the transport.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._is_proxy = self._peer in self._known.proxies
        self._enter(Phase.HEAD, self._limits.head_seconds)
        if len(self.connections) > self._known.most:
            self._turn_away(SERVER_FULL)
        elif not self._is_proxy and not self._come_in(self._peer):
            self._turn_away(ADDRESS_FULL)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._known.turned_away -= self._is_turned_away
        self._known.leave(*self._names)
        self._names.clear()

    def data_received(self, data: bytes) -> None:
        self._feed_bytes = len(data)
        self._bytes += self._feed_bytes
        if self._phase is Phase.GOODBYE:
            if self._bytes > self._limits.goodbye_bytes:
                self.transport.abort()
            return
        if self._phase is Phase.IDLE:
            self._enter(Phase.HEAD, self._limits.head_seconds)
            self._bytes = self._feed_bytes
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._upgrade()
        except httptools.HttpParserError as error:
            self._refuse(self._fault or unreadable(error))
        else:
            self._count_unfinished()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread_until = self.loop.time() + self._limits.answer_seconds

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unread_until = inf

    # Told by the parser, in the middle of `data_received`.

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self._phase is not Phase.HEAD:
            # Right behind another request, in the same bytes: how many are this one's is not known.
            self._enter(Phase.HEAD, self._limits.head_seconds)
            self._bytes = 1
        self._body_bytes = 0

    def on_headers_complete(self) -> None:
        # Summed up only where it can be too much: this is on every order's way.
        if max(self._bytes, self._feed_bytes) > self._limits.head_bytes < self._head_bytes():
            self._fail(HEAD_TOO_LARGE)
        if len(self.pipeline) >= self._limits.requests_waiting:
            self._fail(PIPELINE_FULL)
        if self._is_proxy and not self._come_in(self._known.proxies.client(self._forwarded())):
            self._fail(ADDRESS_FULL)
        super().on_headers_complete()
        # Only now `cycle` is of this request: a refusal looks whose it is.
        self._enter(Phase.BODY, self._limits.body_seconds)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
        if self._body_bytes > self._limits.body_bytes:
            self._fail(BODY_TOO_LARGE)
        super().on_body(body)

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._rest()

    # In the place of uvicorn's.

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._answering = cycle
        cycle.send_500_response = self._own_up  # type: ignore[method-assign]
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self._is_proxy and self._names:
            self._known.leave(self._names.popleft())
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is Phase.IDLE:
            self._rest()

    def handle_websocket_upgrade(self) -> None:
        # From here on the connection is the WebSocket's, which tells when it ends.
        names, self._names = tuple(self._names), deque()
        ended = partial(self._known.leave, *names)
        self.ws_protocol_class = cast(Any, partial(cast(Any, self.ws_protocol_class), ended=ended))
        super().handle_websocket_upgrade()

    # Limits.

    def look(self, now: float) -> None:
        """Whether something has lasted too long."""
        if now > self._unread_until:
            self.transport.abort()
        elif self.transport.is_closing() and self._phase is not Phase.GOODBYE:
            self._enter(Phase.GOODBYE, self._limits.answer_seconds)
        elif now <= self._deadline:
            return
        elif self._phase is Phase.GOODBYE:
            self.transport.abort()
        elif self._phase is Phase.IDLE or not self._bytes:
            self.transport.close()
        elif self.flow.read_paused:
            # It is we who do not read.
            self._enter(self._phase, self._limits.head_seconds)
        else:
            self._refuse(LATE)

    def _enter(self, phase: Phase, seconds: float) -> None:
        self._phase, self._deadline = phase, self.loop.time() + seconds

    def _rest(self) -> None:
        """All that came is with the application; once that has answered, the client may be idle for long."""
        busy = self._answering is not None and not self._answering.response_complete
        self._enter(Phase.IDLE, inf if busy else self._limits.idle_seconds)

    def _head_bytes(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _count_unfinished(self) -> None:
        """What the parser keeps of a part whose end has not come."""
        if self._phase is Phase.HEAD and self._bytes > self._limits.head_bytes:
            self._refuse(HEAD_TOO_LARGE)
        elif self._phase is Phase.BODY and self._bytes > self._limits.head_bytes + self._limits.body_bytes:
            self._refuse(BODY_TOO_LARGE)

    def _fail(self, fault: Fault) -> None:
        """Within a callback of the parser, which hides what is raised there."""
        self._fault = fault
        raise fault

    # Addresses.

    @property
    def _peer(self) -> str:
        return self.client[0] if self.client else ""

    def _forwarded(self) -> str:
        return b", ".join(v for n, v in self.headers if n == b"x-forwarded-for").decode("latin-1")

    def _come_in(self, address: str) -> bool:
        name = self._known.enter(address or self._peer)
        if name is not None:
            self._names.append(name)
        return name is not None

    # Refusals.

    def _upgrade(self) -> None:
        """Someone asks for another protocol; where it is not spoken, the request is one like any other."""
        if not self._should_upgrade():
            self.cycle.keep_alive = False
        elif self._answering is not None and not self._answering.response_complete:
            self._refuse(BUSY_UPGRADE)
        else:
            self.handle_websocket_upgrade()

    def _turn_away(self, fault: Fault) -> None:
        if self._known.turned_away >= self._limits.turned_away:
            self.transport.abort()
        else:
            self._is_turned_away = True
            self._known.turned_away += 1
            self._refuse(fault)

    def _refuse(self, fault: Fault) -> None:
        """Answer and close; behind a request that is being answered, close when that is."""
        running = self._answering
        own = self._phase is Phase.BODY and running is self.cycle
        if running is None or running.response_complete:
            if not own:
                self._write(fault)
            self._say_goodbye()
        elif own and not running.response_started:
            # The application has not seen the body's end: to it, the client is gone.
            running.disconnected = True
            running.message_event.set()
            self._write(fault)
            self._say_goodbye()
        else:
            self.pipeline.clear()
            running.keep_alive = False
            self._enter(Phase.GOODBYE, inf)

    def _write(self, fault: Fault) -> None:
        answer, trace_id = fault.answer(self.server_state.default_headers)
        self._known.note(fault.code, self._peer, trace_id)
        self.transport.write(answer)

    def _say_goodbye(self) -> None:
        """End what we send; a client that still sends is not reset before it has read why."""
        self._enter(Phase.GOODBYE, self._limits.goodbye_seconds)
        self._bytes = 0
        if not self.transport.is_closing():
            self.flow.resume_reading()
            self.transport.write_eof()

    async def _own_up(self) -> None:
        """The application raised before it answered; uvicorn has logged it."""
        self._write(OUR_FAULT)
        self.transport.close()
