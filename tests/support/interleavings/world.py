"""One account between its clients, our processes and an exchange: brought to any state, and one step further.

A step is the real function of storage/ in a transaction of its own, over real rows and a real view. What a
stopped transaction has done cannot be saved: its state is reached again from the one before it.
"""

import asyncio
from dataclasses import replace

from psycopg import errors
from redis.asyncio import Redis

from storage.database import Database, StoreUnavailable
from storage.journals.outbox import OutboxRow
from tests.support.interleavings import exchange, state
from tests.support.interleavings.account import Account
from tests.support.interleavings.exchange import AtExchange, Request
from tests.support.interleavings.pausing import Died, Pausing, Stop
from tests.support.interleavings.scenario import Scenario, Step
from tests.support.interleavings.snapshots import Saved, Snapshots, meaning
from tests.support.interleavings.state import LOCKING, Memory, State


class Impossible(Exception):
    """The step cannot happen now: it would wait for what is stopped, or has nowhere to stop."""


class World:
    def __init__(self, database: Database, redis: Redis, account: Account, scenario: Scenario) -> None:
        self.account, self.scenario = account, scenario
        self._plain = database
        ids = [order.order_id for order in account.orders.values()]
        self._snapshots = Snapshots(database, redis, account.user_id, ids)
        self._present: Saved | None = None
        """What is in the books and the view, where that is known."""
        self._memory = Memory({name: AtExchange(plan.side) for name, plan in scenario.orders.items()})
        self._stopped: tuple[Stop, asyncio.Task[None], Step] | None = None

    async def beginning(self) -> State:
        self._present = await self._snapshots.save()
        return State(self._present, self._memory)

    def possible(self, at: State) -> list[Step]:
        return list(state.possible(at, self.scenario, self.account.orders))

    def meaning(self, at: State) -> str:
        """The same for states in which the same can happen."""
        beside = state.beside(at.memory, at.saved, self.account.orders)
        told = meaning(at.saved, self._snapshots.account, beside)
        return told if at.base is None else f"{told}|{at.since[0]}|{self.meaning(at.base)}"

    async def take(self, at: State, step: Step) -> State:
        """The state after a step. Raises Impossible, or whatever the step raises."""
        await self._go_to(at)
        self._present = None
        await self._run(step)
        saved = self._present = await self._snapshots.save()
        if self._stopped is None:
            return State(saved, self._memory)
        return State(saved, self._memory, at.base or at, (*at.since, step))

    async def close(self) -> None:
        """Nothing is stopped any more."""
        if self._stopped is not None:
            (stop, task, _), self._stopped = self._stopped, None
            stop.leave(dies=True)
            await asyncio.gather(task, return_exceptions=True)
            self._present = None

    async def _go_to(self, at: State) -> None:
        await self.close()
        base = at.base or at
        await self._snapshots.restore(self._present, base.saved)
        self._present, self._memory = base.saved, base.memory
        for step in at.since:
            await self._run(step)

    async def _run(self, step: Step) -> None:
        used = dict(self._memory.used)
        for name in state.rationed(self._memory, step):
            used[name] = used.get(name, 0) + 1
        self._remember(used=used)
        database = Pausing(self._plain, doomed=step.how == "dies", impatient=self._stopped is not None)
        whole = step._replace(how="")
        try:
            if step.verb in ("resume", "die"):
                await self._go_on(dies=step.verb == "die")
            elif step.how == "stops":
                await self._stop(whole)
            elif step.how == "dies":
                await self._die(database, whole)
            else:
                await self._whole(database, whole, self._number(step))
        except StoreUnavailable as error:
            if not isinstance(error.__cause__, errors.LockNotAvailable):
                raise
            raise Impossible from None

    def _remember(self, **changed: object) -> None:
        self._memory = replace(self._memory, **changed)  # type: ignore[arg-type]

    def _number(self, step: Step) -> int:
        """Of the request: what has died, or is run once more, has its number already."""
        memory, whole = self._memory, step._replace(how="")
        if step.how == "again" and memory.done is not None:
            return memory.done[1]
        number = next((number for died, number in memory.died if died == whole), None)
        if number is not None:
            self._remember(died=tuple(one for one in memory.died if one[0] != whole))
            return number
        if step.verb != "change":
            return 0
        requests = {**memory.requests, step.order: memory.requests.get(step.order, 0) + 1}
        self._remember(requests=requests)
        return requests[step.order]

    async def _stop(self, step: Step) -> None:
        stop, number = Stop(), self._number(step)
        task = asyncio.create_task(self._whole(Pausing(self._plain, stop=stop), step, number))
        reached = asyncio.create_task(stop.reached.wait())
        await asyncio.wait([task, reached], return_when=asyncio.FIRST_COMPLETED)
        if not stop.reached.is_set():
            reached.cancel()
            await task
            raise Impossible
        self._stopped = stop, task, step

    async def _go_on(self, *, dies: bool) -> None:
        assert self._stopped is not None
        (stop, task, step), self._stopped = self._stopped, None
        stop.leave(dies=dies)
        try:
            await task
        except Died:
            self._remember(died=(*self._memory.died, (step, self._memory.requests.get(step.order, 0))))

    async def _die(self, database: Database, step: Step) -> None:
        number = self._number(step)
        try:
            await self._whole(database, step, number)
        except Died:
            self._remember(died=(*self._memory.died, (step, number)))
        else:
            raise Impossible

    async def _whole(self, database: Database, step: Step, number: int) -> None:
        account, memory = self.account, self._memory
        match step.verb:
            case "send":
                await self._send(database)
            case "claim":
                await account.claim(database)
            case "freeze":
                await account.freeze(database)
            case "thaw":
                await account.thaw(database)
            case "withdraw":
                await account.withdraw(database)
            case "rebuild":
                await account.rebuild()
            case "place" | "block" | "submit" | "change" | "cancel" | "book":
                await self._of_order(database, step, number)
            case _:
                order_id = account.orders[step.order].order_id
                report, after = exchange.answer(order_id, memory.exchange[step.order], step)
                await account.journal(database, report)
                self._remember(exchange={**memory.exchange, step.order: after})
        if step.verb in LOCKING and self._memory.used.get("again", 0) < self.scenario.most.get("again", 0):
            self._remember(done=(step, number))

    async def _of_order(self, database: Database, step: Step, number: int) -> None:
        name, account, blocks = step.order, self.account, self._memory.blocks
        order = replace(account.orders[name], intake_seq=self._memory.places.get(name, 0))
        match step.verb:
            case "place":
                place = await account.place(database, order)
                self._remember(places={**self._memory.places, name: place})
            case "block":
                block = await account.block(database, order)
                self._remember(blocks=blocks if block is None else {**blocks, name: block})
            case "submit":
                # A process that died before its answer begins with the block.
                block = blocks.get(name) or await account.block(database, order)
                if block is not None:
                    await account.submit(database, order, block)
                self._remember(blocks={n: b for n, b in self._memory.blocks.items() if n != name})
            case "change":
                await account.change(database, order, number, step.quantity, step.price)
            case "cancel":
                await account.cancel(database, order)
            case "book":
                await account.book(database, order)

    async def _send(self, database: Database) -> None:
        owed = [*await self.account.claimed(database), *await self.account.claim(database)]
        if owed:
            await self.account.mark(database, owed)
        names = {order.order_id: name for name, order in self.account.orders.items()}
        orders = dict(self._memory.exchange)
        for one in owed:
            name = names[one.order_id]
            orders[name] = replace(orders[name], unanswered=(*orders[name].unanswered, _request(one)))
        self._remember(exchange=orders)


def _request(owed: OutboxRow) -> Request:
    said = owed.instruction
    price = getattr(said, "price", None) or 0
    return Request(owed.kind, owed.cl_ord_id, getattr(said, "quantity", 0), price)
