"""Who may speak to Valkey: nobody without a password, our processes about data alone."""

from functools import partial
from typing import Any

import pytest
from redis import Redis as BlockingRedis
from redis.exceptions import AuthenticationError, NoPermissionError

from bus import order_updates
from config.settings import Settings

FORGED = b'{"type":"order_update","seq":1,"order_id":"1","event":"FILL","status":"EXECUTED"}'


@pytest.mark.parametrize("user", [{}, {"username": "hundi", "password": "guessed"}, {"password": "guessed"}])
def test_a_stranger_s_fill_reaches_nobody(servers: Settings, user: dict[str, Any]) -> None:
    channel = order_updates.channel(1)
    with (
        BlockingRedis.from_url(servers.redis_dsn) as ours,
        ours.pubsub(ignore_subscribe_messages=True) as listener,
        BlockingRedis(host=servers.host, port=servers.port("redis"), **user) as stranger,
    ):
        listener.subscribe(channel)
        with pytest.raises(AuthenticationError):
            stranger.publish(channel, FORGED)
        ours.publish(channel, b"ours")
        told = next(
            message["data"] for message in iter(partial(listener.get_message, timeout=10), 0) if message
        )
    assert told == b"ours"


@pytest.mark.parametrize(
    "command",
    [
        "CONFIG GET *",
        "CONFIG SET dir /tmp",
        "ACL LIST",
        "ACL SETUSER mine on nopass allkeys allcommands",
        "FLUSHALL",
        "FLUSHDB",
        "KEYS *",
        "MONITOR",
        "SHUTDOWN NOSAVE",
        "SAVE",
        "REPLICAOF 127.0.0.1 1",
        "MODULE LIST",
        "CLIENT KILL TYPE normal",
        "FUNCTION FLUSH",
    ],
)
def test_our_processes_have_no_say_over_the_server(servers: Settings, command: str) -> None:
    with (
        BlockingRedis.from_url(servers.redis_dsn) as ours,
        pytest.raises(NoPermissionError),
    ):
        ours.execute_command(*command.split())
