"""From the client's click: to the wire, to the books, to EXECUTED on the client's own socket, 20 orders/s.

Open loop: an order counts from the instant it was due at the client. Ceiling: the 202, before which nothing
is true for the client. The stages after it, all by one machine's clock: handed to FIX (the outbox's
`sent_at_ns`), the exchange's report in the inbox, the trade in the books, and `order_update` as a
python-socketio client hears it.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import msgspec
import socketio
from rich.progress import track

from benchmarks import load
from benchmarks.acknowledgement import ORDER
from benchmarks.load import Load, Requests, key_of
from benchmarks.market import Market
from benchmarks.orders import all_booked
from benchmarks.rows import LatencyRow, latency_rows
from stack.errors import StackError
from storage.database import Database

USERS, CONNECTIONS, RATE = 40, 16, 20.0
ROUNDS, ROUND_SECONDS = 3, 10.0
STREAM = "/api/v1/stream"
HEARD_WITHIN_SECONDS = 5.0
STAGES = {
    "acknowledged": ("ceiling", "202 at the client"),
    "wire": ("ours", "handed to FIX"),
    "reported": ("ours", "report in the inbox"),
    "booked": ("ours", "trade in the books"),
    "heard": ("ours", "order_update at the client's socket"),
}
_STAMPS = """
    SELECT order_id, min(sent_at_ns) AS wire, min(received_at_ns) AS reported,
           max(trades.booked_at_ns) AS booked
    FROM exchange_outbox JOIN exchange_inbox USING (order_id) JOIN trades USING (order_id)
    WHERE kind = 'NEW' AND order_id = ANY(%s) GROUP BY order_id
"""
Executions = dict[int, int]
"""When a socket heard that the order is executed."""


async def rows(market: Market, database: Database) -> list[LatencyRow]:
    """One row a stage; the socket's only where a realtime process runs."""
    market.run_only(*market.platform)
    tokens = await market.tokens(database, USERS)
    posts = Requests.posts("/api/v1/orders", tokens, ORDER)
    async with _listening(market, tokens) as executions:
        # The first is not counted.
        found = [
            await _round(market, database, posts, executions)
            for _ in track(range(ROUNDS + 1), "click", transient=True)
        ]
    reached = [stage for stage in STAGES if stage in found[0]]
    rounds = [[(took[stage], "") for took in found[1:]] for stage in reached]
    return latency_rows(f"click, {RATE:.0f} orders/s", [STAGES[stage] for stage in reached], rounds)


async def _round(
    market: Market, database: Database, posts: Requests, executions: Executions
) -> dict[str, list[int]]:
    """Nanoseconds from the click by stage."""
    port = market.port("api")
    asked = Load(market.settings.host, port, posts, CONNECTIONS, ROUND_SECONDS, 202, rate=RATE)
    answers = await load.run(market.load, asked)
    await all_booked(database, [key_of(answer.number) for answer in answers])
    clicks = {int(msgspec.json.decode(answer.body)["order_id"]): answer.due_ns for answer in answers}
    took = {"acknowledged": [answer.took_ns for answer in answers]}
    async with database.reading() as conn:
        stamps = await (await conn.execute(_STAMPS, (list(clicks),))).fetchall()
    for stage in ("wire", "reported", "booked"):
        took[stage] = [row[stage] - clicks[row["order_id"]] for row in stamps]
    if _has_stream(market):
        await _all_heard(executions, clicks)
        took["heard"] = [executions[order_id] - clicked for order_id, clicked in clicks.items()]
    return took


@asynccontextmanager
async def _listening(market: Market, tokens: Sequence[str]) -> AsyncIterator[Executions]:
    """A socket for each client, until the context is left; what they hear is kept."""
    executions: Executions = {}

    def hear(update: dict[str, Any]) -> None:
        if update["status"] == "EXECUTED":
            executions.setdefault(int(update["order_id"]), time.time_ns())

    async with AsyncExitStack() as sockets:
        for token in tokens if _has_stream(market) else ():
            client = socketio.AsyncClient(reconnection=False)
            client.on("order_update", hear)
            url = f"http://{market.settings.host}:{market.port('stream')}"
            await client.connect(url, auth={"token": token}, socketio_path=STREAM, transports=["websocket"])
            sockets.push_async_callback(client.disconnect)
        yield executions


async def _all_heard(executions: Executions, clicks: dict[int, int]) -> None:
    """Raises StackError when an order's execution was not heard."""
    deadline = time.monotonic() + HEARD_WITHIN_SECONDS
    while True:
        missing = len(clicks.keys() - executions.keys())
        if not missing:
            return
        if time.monotonic() > deadline:
            raise StackError(f"{missing} of {len(clicks)} executions were not heard on the clients' sockets")
        await asyncio.sleep(0.05)


def _has_stream(market: Market) -> bool:
    return "realtime-0" in market.supervisor.processes
