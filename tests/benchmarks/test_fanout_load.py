"""The stream's load clients against a server whose frames come in pieces: every update counts once."""

import asyncio
import time
from array import array

import pytest

from benchmarks.fanout_load import BunClient, LoadClient, NatsClient, OurClient, SocketIoClient, subject
from domain.time import rfc3339
from realtime.websocket.frames import text_frame
from tests.support.eventually import eventually

UPDATES = 40


def an_update(stamp: str) -> bytes:
    return f'{{"instrument":"NSE:M&M","ltp":100.05,"timestamp":"{stamp}"}}'.encode()


def messages(client: type[LoadClient], stamp: str) -> list[bytes]:
    """Of so many updates, as the client's server sends them."""
    one = an_update(stamp)
    if client is OurClient:
        return [b'42["ticks",[' + b",".join([one] * 10) + b"]]"] * (UPDATES // 10)
    if client is SocketIoClient:
        return [b'42["tick",' + one + b"]"] * UPDATES
    if client is BunClient:
        return [one] * UPDATES
    said = b"MSG %b 1 %d\r\n%b\r\n" % (subject("NSE:M&M").encode(), len(one), one)
    whole = b"INFO {}\r\nPONG\r\nPING\r\n" + said * UPDATES
    # NATS cuts its frames anywhere.
    return [whole[at : at + 777] for at in range(0, len(whole), 777)]


@pytest.mark.parametrize("kind", [OurClient, SocketIoClient, BunClient, NatsClient])
async def test_every_update_counts_once_however_its_bytes_are_cut(kind: type[LoadClient]) -> None:
    stamp = rfc3339(time.time_ns() - 5_000_000)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        told = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
        told += b"".join(text_frame(message) for message in messages(kind, stamp))
        for at in range(0, len(told), 101):
            writer.write(told[at : at + 101])
            await asyncio.sleep(0)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    client = kind("token", ["NSE:M&M"])
    client.ages = noted = array("q")
    port = server.sockets[0].getsockname()[1]
    await asyncio.get_running_loop().create_connection(lambda: client, "127.0.0.1", port)
    await eventually(lambda: client.updates >= UPDATES)
    assert client.updates == UPDATES
    assert noted and all(5_000_000 < age < 5_000_000_000 for age in noted)
    client.transport.abort()
    server.close()
