"""The risk desk of a soak: it freezes one client after the other, for some seconds, and lifts it again.

A freeze that cancels what is pending must have done so within `CANCELLED_WITHIN` seconds, whatever the client
floods its order with; how far it is, is read from the books.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from random import Random

import httpx

from tests.soak.client import Client
from tests.soak.journal import Journal
from tests.support.clients import sign_in
from tests.support.market import Market

CANCELLED_WITHIN = 10.0
LOOK_SECONDS = 0.2
OpenOrders = Callable[[str], Awaitable[list[int]]]
"""Orders of a client that are not final."""


async def freeze_in_turn(
    market: Market, clients: list[Client], journal: Journal, open_orders: OpenOrders, chance: Random
) -> None:
    """For ever; what is frozen when it is cancelled, `unfreeze_all` lifts."""
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as desk:
        await sign_in(desk, "RISK01")
        while True:
            await asyncio.sleep(chance.uniform(4, 12))
            client = chance.choice(clients)
            asked = {
                "state": chance.choice(["HALTED", "REDUCING"]),
                "cancel_pending": chance.random() < 0.7,
                "flatten": chance.random() < 0.3,
            }
            client.touched_at, client.frozen = time.monotonic(), True
            try:
                before = set(await open_orders(client.client_id))
                answer = await desk.post("/api/v1/risk/freeze", json=_about(client) | asked)
                journal.freezes += answer.is_success
                if answer.is_success and (asked["cancel_pending"] or asked["flatten"]):
                    await _cancelled(client, before, journal, open_orders)
                await asyncio.sleep(chance.uniform(0.5, 3))
                await desk.post("/api/v1/risk/unfreeze", json=_about(client))
            except httpx.TransportError:
                journal.unreachable += 1
            client.touched_at, client.frozen = time.monotonic(), False


async def unfreeze_all(market: Market) -> None:
    async with httpx.AsyncClient(base_url=market.api_url, timeout=20) as desk:
        await sign_in(desk, "RISK01")
        for state in (await desk.get("/api/v1/risk/states")).json()["states"]:
            about = {"scope": state["scope"], "id": state["id"] or None, "reason": "the soak is over"}
            (await desk.post("/api/v1/risk/unfreeze", json=about)).raise_for_status()


async def _cancelled(client: Client, before: set[int], journal: Journal, open_orders: OpenOrders) -> None:
    """Wait until none of these orders is open any more."""
    deadline = time.monotonic() + CANCELLED_WITHIN
    while still := before & set(await open_orders(client.client_id)):
        if time.monotonic() > deadline:
            orders = ", ".join(map(str, sorted(still)))
            journal.late_freezes.append(f"{client.client_id} was frozen and {orders} stayed open")
            return
        await asyncio.sleep(LOOK_SECONDS)


def _about(client: Client) -> dict[str, object]:
    return {"scope": "user", "id": client.client_id, "reason": "a soak"}
