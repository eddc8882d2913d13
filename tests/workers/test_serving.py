"""Whose word about an address is believed: nobody's, unless a setting says so."""

import asyncio
import socket
from typing import Any

import httpx
import pytest
from redis.asyncio import Redis

from workers.serving import serve


async def who_asks(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the address that the application would put on record."""
    if scope["type"] != "http":
        return
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": scope["client"][0].encode()})


@pytest.mark.parametrize(
    ("trusted", "forwarded", "believed"),
    [
        ([], "203.0.113.7", "127.0.0.1"),
        ([], "nonsense", "127.0.0.1"),
        (["10.0.0.0/8"], "203.0.113.7", "127.0.0.1"),
        (["127.0.0.1"], "203.0.113.7", "203.0.113.7"),
        (["127.0.0.1"], "198.51.100.1, 203.0.113.7", "203.0.113.7"),
    ],
)
async def test_a_forwarded_address_is_believed_of_a_trusted_proxy_alone(
    redis: Redis, trusted: list[str], forwarded: str, believed: str
) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    serving = asyncio.create_task(
        serve(who_asks, "127.0.0.1", port, redis, "test-serving", trusted_proxies=trusted, lifespan="off")
    )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
            for _ in range(100):
                try:
                    answer = await http.get("/", headers={"X-Forwarded-For": forwarded})
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.02)
        assert answer.text == believed
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
