"""How the clients of a soak behave: each behaviour is one cycle, repeated until the run ends.

Every cycle uses at once what its client has been notified of: shares bought, a position to close, money and
shares that a cancel has freed. A refusal for want of these is evidence against the platform, unless the risk
desk has touched the account meanwhile. Prices and sizes come from a seeded `Random`.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

import httpx

from domain.money import paise, rupees
from tests.soak.client import OWN, Client, Silent, Story
from tests.soak.journal import OwnRefused

PURSE = "NSE:TCS"
FREE_CASH = 60_000_00
"""What a client with a purse keeps: its next order needs more than half of it."""
BURST, FLOOD_CHANGES, FLOOD_A_SECOND = 5, 2_200, 60
RESTING_SECONDS = 0.3
DRY_RUN_EVERY = 4
OPPOSITE = {"BUY": "SELL", "SELL": "BUY"}


@dataclass(frozen=True, slots=True)
class Share:
    """An instrument as a client sees it; prices in paise."""

    instrument_id: str
    product: str
    low: int
    high: int
    close: int
    tick: int
    lot: int

    def near(self, ticks: int) -> str:
        return rupees(self.close + ticks * self.tick)

    @property
    def many(self) -> int:
        """An order that is large, and below the freeze quantity."""
        return (60 if self.lot == 1 else 12) * self.lot

    def part(self, chance: Random) -> int:
        """Some of `many`, in whole lots."""
        return max(1, self.many * chance.choice([1, 5, 30, 90]) // 60 // self.lot) * self.lot

    @property
    def terms(self) -> dict[str, Any]:
        return {"instrument_id": self.instrument_id, "product": self.product}


Cycle = Callable[[Client, Share, Random], Awaitable[None]]


async def share(client: Client, instrument_id: str, product: str) -> Share:
    listed = (await client.get("/api/v1/instruments", q=instrument_id))["instruments"]
    row = next(row for row in listed if row["instrument_id"] == instrument_id)
    low, high, close = (paise(row[name]) for name in ("lower_band", "upper_band", "previous_close"))
    return Share(instrument_id, product, low, high, close, paise(row["tick_size"]), row["lot_size"])


async def sell_what_was_bought(client: Client, it: Share, chance: Random) -> None:
    """Each fill of a purchase is sold in the moment that it is heard of."""
    began = time.monotonic()
    quantity = chance.randint(1, 40) * it.lot
    if story := await client.place(**it.terms, quantity=quantity):
        await _give_back(client, it, story, "BUY", began)


async def exit_at_once(client: Client, it: Share, chance: Random) -> None:
    """An intraday position that binds more than half of what is free, closed when it is heard of."""
    await _keep_purse(client)
    began, side = time.monotonic(), chance.choice(["BUY", "SELL"])
    quantity = int(FREE_CASH * chance.uniform(0.55, 0.8) / (it.high / 5))
    if story := await client.place(**it.terms, quantity=quantity, transaction_type=side):
        await _give_back(client, it, story, side, began)


async def spend_what_a_cancel_freed(client: Client, it: Share, chance: Random) -> None:
    """A resting purchase is cancelled; what it had blocked is spent in the moment that it is heard of."""
    await _keep_purse(client)
    began = time.monotonic()
    quantity = int(FREE_CASH * chance.uniform(0.55, 0.9) / it.low)
    order = {**it.terms, "quantity": quantity, "order_type": "LIMIT", "price": rupees(it.low)}
    await _cancel_and_again(client, order, chance, began, "money that a cancel had freed")


async def sell_what_a_cancel_freed(client: Client, it: Share, chance: Random) -> None:
    """All shares held are promised to a resting sale, which is cancelled, and promised again at once."""
    held = (await client.get("/api/v1/portfolio/holdings"))["holdings"]
    owned = next((row["quantity"] for row in held if row["instrument_id"] == it.instrument_id), 0)
    began = time.monotonic()
    if owned > 0:
        order = {**it.terms, "quantity": owned, "order_type": "LIMIT", "price": rupees(it.high)}
        sale = {**order, "transaction_type": "SELL"}
        await _cancel_and_again(client, sale, chance, began, "shares that a cancel had freed")


async def change_in_bursts(client: Client, it: Share, chance: Random) -> None:
    """Several changes of one resting order at once, also to a price that trades; then it is cancelled."""
    began = time.monotonic()
    rests = {"order_type": "LIMIT", "price": it.near(-chance.randint(60, 100))}
    story = await client.place(**it.terms, quantity=it.many, **rests)
    if story is None:
        return
    selling = asyncio.create_task(_give_back(client, it, story, "BUY", began))
    try:
        for _ in range(chance.randint(1, 3)):
            asked = [_a_change(it, chance) for _ in range(chance.randint(2, BURST))]
            await asyncio.gather(*(client.change(story.order_id, **terms) for terms in asked))
            await asyncio.sleep(chance.choice([0, 0.02, 0.2]))
        await client.cancel(story.order_id)
        await selling
    finally:
        selling.cancel()


async def flood(client: Client, it: Share, chance: Random) -> None:
    """Very many changes of one order, far more than a workflow takes; then its owner cancels it."""
    rests = {"order_type": "LIMIT", "price": it.near(-100)}
    story = await client.place(**it.terms, quantity=10 * it.lot, **rests)
    if story is None:
        return
    began, connections = time.monotonic(), 6
    for asked in range(0, FLOOD_CHANGES, connections):
        prices = [it.near(-100 - (asked + n) % 7) for n in range(connections)]
        await asyncio.gather(*(client.change(story.order_id, price=price) for price in prices))
        if story.is_final:
            return
        await asyncio.sleep(max(0.0, began + (asked + connections) / FLOOD_A_SECOND - time.monotonic()))
    await client.cancel(story.order_id)
    await story.until(lambda seen: seen.is_final)


async def rest(client: Client, it: Share, chance: Random) -> None:
    """An order that stands from the beginning to the end, whatever dies meanwhile."""
    await client.place(**it.terms, quantity=it.lot, order_type="LIMIT", price=rupees(it.low))
    await asyncio.sleep(chance.uniform(3, 10))


def _a_change(it: Share, chance: Random) -> dict[str, Any]:
    price = {"price": it.near(chance.choice([-100, -80, -60, -1, 60]))}
    quantity = {"quantity": it.part(chance)}
    return chance.choice([price, price | quantity])


async def _give_back(client: Client, it: Share, story: Story, side: str, began: float) -> None:
    """Close each fill of the order as it is heard of, until the order is final and all is closed."""
    closed, what = 0, f"{it.product} of {it.instrument_id}, heard of as filled by {story.order_id}"
    while not (story.is_final and closed >= story.filled):
        await story.until_more_is_filled(closed)
        if quantity := story.filled - closed:
            closed += quantity
            order = {**it.terms, "quantity": quantity, "transaction_type": OPPOSITE[side]}
            sale = await _entitled(client, order, began, what)
            if sale is not None and sale.reject_code == "SELF_TRADE_PREVENTED":
                # It would meet what is still open of the order itself: once that has ended it may leave.
                closed -= quantity
                await story.until(lambda seen: seen.is_final)


async def _cancel_and_again(
    client: Client, order: dict[str, Any], chance: Random, began: float, what: str
) -> None:
    first = await client.place(**order)
    if first is None:
        return
    await asyncio.sleep(chance.choice([0, 0, RESTING_SECONDS]))
    await client.cancel(first.order_id)
    await first.until(lambda seen: seen.is_final)
    if first.status != "CANCELLED" or first.filled:
        return
    second = await _entitled(client, order, began, what)
    if second is not None:
        await client.cancel(second.order_id)
        await second.until(lambda seen: seen.is_final)


async def _entitled(client: Client, order: dict[str, Any], began: float, what: str) -> Story | None:
    """Place an order that may not be refused for want of shares or money; the order once it has left."""
    if len(client.stories) % DRY_RUN_EVERY == 0:
        for code in OWN & await client.would_refuse(**order):
            _note(client, OwnRefused(client.client_id, "a dry run", code, what), began)
    story = await client.place(**order)
    if story is None:
        return None
    await story.until(lambda seen: seen.status not in ("", "PENDING_VALIDATION", "PENDING_OPEN"))
    if story.reject_code in OWN:
        _note(client, OwnRefused(client.client_id, story.order_id, story.reject_code, what), began)
    elif story.status == "REJECTED":
        client.journal.refusals[story.reject_code] += 1
    return story


def _note(client: Client, refused: OwnRefused, began: float) -> None:
    if client.left_alone_since(began):
        client.journal.own_refused.append(refused)
    else:
        client.journal.refusals[refused.code] += 1


async def _keep_purse(client: Client) -> None:
    """Have all but FREE_CASH blocked by an order that rests; losses are made up for out of it."""
    purse = await share(client, PURSE, "CNC")
    spare = await _available(client) - FREE_CASH
    if spare < -FREE_CASH // 5:
        resting = await client.get("/api/v1/orders", status="OPEN", instrument_id=PURSE)
        for row in resting["orders"]:
            await client.cancel(row["order_id"])
            await client.stories[row["order_id"]].until(lambda seen: seen.is_final)
        spare = await _available(client) - FREE_CASH
    if spare >= purse.low:
        order = {**purse.terms, "quantity": spare // purse.low, "order_type": "LIMIT"}
        if story := await client.place(**order, price=rupees(purse.low)):
            await story.until(lambda seen: seen.is_final or seen.status == "OPEN")


async def _available(client: Client) -> int:
    return paise((await client.get("/api/v1/portfolio/margins"))["available_cash"])


async def repeated(cycle: Cycle, client: Client, it: Share, chance: Random, pause: float) -> None:
    """For ever; what is not heard of in time is noted, and the next cycle begins."""
    while True:
        try:
            await cycle(client, it, chance)
        except Silent as silent:
            client.journal.silences.append(str(silent))
        except httpx.HTTPError:
            client.journal.unreachable += 1
        await asyncio.sleep(chance.uniform(0.5, 1.5) * pause)
