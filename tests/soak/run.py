"""One soak: clients, a desk, Temporal's death in the middle, then everything at rest and the evidence.

Called by tests/soak/__main__.py, which prints what it tells.
"""

import asyncio
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from random import Random

import httpx
from temporalio.client import Client as Temporal

from tests.soak import behaviour, desk
from tests.soak.behaviour import Cycle
from tests.soak.client import Client, signed_in
from tests.soak.journal import Journal
from tests.soak.verdict import Left, faults
from tests.soak.watch import Watch, without_a_story
from tests.support.contracts import front_option
from tests.support.evidence import collect
from tests.support.market import Market

SAY_SECONDS, LOOK_SECONDS = 10.0, 1.0
AWAY_SECONDS, STORIES_WITHIN, REST_SECONDS = 5.0, 20.0, 90.0
CALL = f"NSE:{front_option('NIFTY 50', 26_000, 'CE')}"

# Who behaves how, in what, and the mean pause between two cycles. Whoever sells what was bought holds no such
# shares from the beginning.
CAST: list[tuple[Cycle, str, str, float]] = [
    (behaviour.sell_what_was_bought, "NSE:ITC", "CNC", 0.6),
    (behaviour.sell_what_was_bought, "NSE:HDFCBANK", "CNC", 0.6),
    (behaviour.exit_at_once, "NSE:RELIANCE", "MIS", 0.6),
    (behaviour.exit_at_once, "NSE:ICICIBANK", "MIS", 0.6),
    (behaviour.spend_what_a_cancel_freed, "NSE:RELIANCE", "CNC", 0.6),
    (behaviour.spend_what_a_cancel_freed, "NSE:SBIN", "CNC", 0.6),
    (behaviour.sell_what_a_cancel_freed, "NSE:RELIANCE", "CNC", 0.6),
    (behaviour.change_in_bursts, "NSE:AXISBANK", "CNC", 0.6),
    (behaviour.change_in_bursts, "NSE:SBIN", "MIS", 0.6),
    (behaviour.change_in_bursts, CALL, "NRML", 0.6),
    (behaviour.flood, "NSE:INFY", "MIS", 0.5),
    (behaviour.rest, "NSE:ITC", "CNC", 1.0),
]
FIRST_CLIENT = 51
COLUMNS = (
    *("time", "orders", "a second", "fills", "changes", "cancels", "slowest", "freezes", "open"),
    *("refused", "unbooked"),
)
"""`refused`: what a client owned; `unbooked`: reports without their trade for more than 5 s."""


@dataclass
class Soak:
    market: Market
    seconds: float
    seed: int
    say: Callable[[str], None]
    journal: Journal = field(default_factory=Journal)
    began: float = 0.0
    note: str = ""
    """What happened since the last line."""

    def __post_init__(self) -> None:
        self._watch = Watch(self.market.settings.postgres_dsn)
        self._names = [f"DEMO{FIRST_CLIENT + n:04d}" for n in range(len(CAST))]

    async def run(self) -> list[str]:
        """Every fault that was found."""
        async with AsyncExitStack() as stack:
            opened = [signed_in(self.market, name, self.journal) for name in self._names]
            clients = [await stack.enter_async_context(one) for one in opened]
            await self._under_load(clients)
            self.say("the load is over; does every open order have a story?")
            storyless = await self._storyless()
            self.say("every open order is cancelled")
            await desk.unfreeze_all(self.market)
            await self._bring_to_rest(clients)
        return await self._judge(storyless)

    async def _under_load(self, clients: list[Client]) -> None:
        self.say(f"{len(clients)} clients, seed {self.seed}, {self.seconds / 60:.1f} minutes")
        self.began = time.monotonic()
        with suppress(TimeoutError):
            async with asyncio.timeout(self.seconds), asyncio.TaskGroup() as tasks:
                for place, (client, (cycle, name, product, pause)) in enumerate(
                    zip(clients, CAST, strict=True)
                ):
                    it, chance = await behaviour.share(client, name, product), Random(f"{self.seed}:{place}")
                    tasks.create_task(behaviour.repeated(cycle, client, it, chance, pause))
                frozen = clients[:-1]  # The last one's orders stand to the end.
                tasks.create_task(
                    desk.freeze_in_turn(
                        self.market, frozen, self.journal, self._open_orders, Random(self.seed)
                    )
                )
                tasks.create_task(self._lose_temporal())
                tasks.create_task(self._look())
                tasks.create_task(self._report())

    async def _lose_temporal(self) -> None:
        """Its server dies, and with it all that it knew; an empty one is started."""
        await asyncio.sleep(self.seconds / 2)
        temporal = self.market.process("temporal")
        await asyncio.to_thread(temporal.kill9)
        for path in (self.market.settings.data_dir / "temporal").glob("temporal.db*"):
            path.unlink()
        self.note = "Temporal is killed, its database deleted"
        await asyncio.sleep(AWAY_SECONDS)
        temporal.start()
        await asyncio.to_thread(temporal.wait_healthy)
        self.note = "Temporal is back, empty"

    async def _look(self) -> None:
        while True:
            await asyncio.to_thread(self._watch.look)
            await asyncio.sleep(LOOK_SECONDS)

    async def _report(self) -> None:
        """A line of the table every SAY_SECONDS."""
        self.say("".join(f"{name:>9}" for name in COLUMNS))
        before = 0
        while True:
            await asyncio.sleep(SAY_SECONDS)
            kept, orders = self.journal, self.journal.acknowledged
            opened = await asyncio.to_thread(self._watch.open_orders, self._names)
            values = [
                f"{time.monotonic() - self.began:.0f} s",
                orders,
                f"{(orders - before) / SAY_SECONDS:.1f}",
                kept.fills,
                kept.changes.total(),
                len(kept.cancels),
                f"{max((one.seconds for one in kept.cancels[-200:]), default=0.0):.2f} s",
                kept.freezes,
                len(opened),
                len(kept.own_refused),
                len(self._watch.unbooked),
            ]
            self.say("".join(f"{value:>9}" for value in values) + f"  {self.note}")
            before, self.note = orders, ""

    async def _open_orders(self, client_id: str) -> list[int]:
        return await asyncio.to_thread(self._watch.open_orders, [client_id])

    async def _storyless(self) -> list[int]:
        """Open orders that nobody tells a story of, after the time that finding them may take."""
        settings = self.market.settings
        temporal = await Temporal.connect(settings.temporal_target, namespace=settings.temporal_namespace)
        deadline = time.monotonic() + STORIES_WITHIN
        while True:
            opened = await asyncio.to_thread(self._watch.open_orders, self._names)
            lost = await without_a_story(temporal, opened)
            if not lost or time.monotonic() > deadline:
                return lost
            await asyncio.sleep(LOOK_SECONDS)

    async def _bring_to_rest(self, clients: list[Client]) -> None:
        """Every order is taken back by its owner, until none is open or time is up."""
        deadline = time.monotonic() + REST_SECONDS
        while time.monotonic() < deadline:
            left = 0
            for client in clients:
                opened = await self._open_orders(client.client_id)
                left += len(opened)
                for order_id in opened:
                    with suppress(httpx.HTTPError):
                        await client.cancel(str(order_id))
            if not left:
                return
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self._watch.look)

    async def _judge(self, storyless: list[int]) -> list[str]:
        """At once when there is nothing; what is only late is given its time."""
        deadline = time.monotonic() + STORIES_WITHIN
        while True:
            await asyncio.to_thread(self._watch.look)
            evidence = await asyncio.to_thread(collect, self.market.settings, self.journal.requests)
            found = faults(Left(self.journal, evidence, self._watch.unbooked, storyless))
            if not found or time.monotonic() > deadline:
                return found
            await asyncio.sleep(LOOK_SECONDS)
