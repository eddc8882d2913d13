"""An application behind our own server on a free port, and strangers who speak to it in bytes."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from redis.asyncio import Redis

from workers.http_limits import HttpLimits
from workers.serving import serve

SECONDS = 20
"""For what comes at once on a quiet machine."""


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


@dataclass
class Stranger:
    """One connection."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def at(cls, port: int) -> "Stranger":
        return cls(*await asyncio.open_connection("127.0.0.1", port))

    def say(self, text: bytes) -> None:
        self.writer.write(text)

    async def answer(self) -> Answer:
        """The next one."""
        async with asyncio.timeout(SECONDS):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
            body = await self.reader.readexactly(int(headers.get("content-length", "0")))
        return Answer(int(head[0].split()[1]), headers, body)

    async def is_ended(self) -> bool:
        """Waits for it; what still comes is none."""
        with suppress(ConnectionError):
            async with asyncio.timeout(SECONDS):
                return await self.reader.read() == b""
        return True

    def leave(self) -> None:
        self.writer.close()


@dataclass
class Echo:
    """Answers each request with its path, its body's size and the address it is from, once it may."""

    may_answer: asyncio.Event = field(default_factory=asyncio.Event)
    gone: list[str] = field(default_factory=list)
    """Paths of those who left before their body was here."""

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.gone.append(scope["path"])
                return
            size, more = size + len(message.get("body", b"")), message.get("more_body", False)
        await self.may_answer.wait()
        body = json.dumps([scope["path"], size, scope["client"][0]]).encode()
        headers = [(b"content-length", str(len(body)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


@asynccontextmanager
async def served(
    app: Any, redis: Redis, limits: HttpLimits | None = None, trusted: list[str] | None = None, **options: Any
) -> AsyncIterator[int]:
    """The port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port: int = free.getsockname()[1]
    options = {"lifespan": "off", "trusted_proxies": trusted or [], "limits": limits, **options}
    serving = asyncio.create_task(serve(app, "127.0.0.1", port, redis, "test-serving", **options))
    try:
        for _ in range(500):
            with suppress(OSError):
                (await Stranger.at(port)).leave()
                break
            await asyncio.sleep(0.02)
        await asyncio.sleep(0)
        yield port
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
