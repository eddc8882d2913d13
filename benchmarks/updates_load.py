"""Clients that listen for their order updates in a process of their own.

`python -m benchmarks.updates_load HOST PORT`: tokens come on standard input, one a line, to its end. Out go
`listening` once every client is let in, then the age in nanoseconds of each `order_update`, one a line. Used
by benchmarks/whole_path.py, so that an update's age is not that of the thousands of sockets which the
benchmark reads beside it.
"""

import asyncio
import sys
import time

import msgspec
import uvloop

from benchmarks.fanout_load import OurClient
from domain.time import nanoseconds_of

_UPDATE = b'42["order_update",'


class _Update(msgspec.Struct):
    timestamp: str


_decode = msgspec.json.Decoder(tuple[str, _Update]).decode


def _hear(payload: bytes) -> None:
    if payload.startswith(_UPDATE):
        print(time.time_ns() - nanoseconds_of(_decode(payload[2:])[1].timestamp), flush=True)


async def _listen(host: str, port: int, tokens: list[str]) -> None:
    loop = asyncio.get_running_loop()
    for token in tokens:
        client = OurClient(token, [])
        client.hear = _hear
        await loop.create_connection(lambda client=client: client, host, port)  # type: ignore[misc]
        await client.ready.wait()
    print("listening", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(_listen(sys.argv[1], int(sys.argv[2]), sys.stdin.read().split()))
