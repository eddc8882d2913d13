"""The margin book in Redis: a fast view of the ledger that may be lost at any time.

`block` decides under Redis' single thread, so racing orders of one account never overspend. The ledger in
PostgreSQL is the truth: a transaction that writes a hold compares the view's generation with the ledger's
and fails closed when they differ. A missing view is rebuilt before the next answer. Scripts:
storage/margin/lua; their plain-Python twin: domain/margin.py. This module is the scripts' only caller.
"""

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import psycopg
import structlog
from psycopg_pool import PoolTimeout
from redis.asyncio import Redis
from redis.exceptions import RedisError

from domain.margin import Account, Block, BlockOutcome, Hold, ResizeOutcome, Use
from domain.orders import Side
from storage.database import Connection, Database
from storage.margin.accounts import AccountUnknown, ledger_state

HOLD_SECONDS = 3 * 24 * 3600
"""How long an answered block is remembered; far longer than an order's retries."""
_LUA = Path(__file__).parent / "lua"
log = structlog.get_logger()


class FillStep(NamedTuple):
    """Apply a booked fill; `generation` is the ledger's in the transaction that booked it, `left` what it has
    left of the hold: an empty one where the order has none."""

    user_id: int
    order_id: int
    fill_id: str
    use: Use
    left: Hold
    generation: int


class ReleaseStep(NamedTuple):
    """Give back what is left of the hold."""

    user_id: int
    order_id: int
    generation: int


class RemarginStep(NamedTuple):
    """Give the account's derivatives the margin that the ledger has reckoned for them."""

    user_id: int
    blocked: int
    used: int
    version: int
    generation: int


class ResizeStep(NamedTuple):
    """Give the hold new terms."""

    user_id: int
    order_id: int
    to: Hold
    generation: int


Step = FillStep | ReleaseStep | ResizeStep | RemarginStep


class MarginView:
    """One verb a script; paise and shares throughout."""

    def __init__(self, redis: Redis, database: Database) -> None:
        self._redis = redis
        self._database = database
        self._load, self._block, self._fill, self._release, self._resize, self._remargin = (
            redis.register_script((_LUA / f"{verb}.lua").read_text())
            for verb in ("load", "block", "fill", "release", "resize", "remargin")
        )

    async def block(
        self, user_id: int, order_id: int, side: Side, position: str, nets: bool, quantity: int, unit: int
    ) -> Block:
        """Lock margin for an order at `unit` paise a share that opens a position.

        What a generation has blocked stands for every repeat. Raises AccountUnknown.
        """
        arguments: list[str | int] = [side.value, position, int(nets), quantity, unit, HOLD_SECONDS]
        block = _block(await self._block(_keys(user_id, order_id), arguments))
        if block.outcome is BlockOutcome.BOOK_MISSING:
            await self.ensure(user_id)
            block = _block(await self._block(_keys(user_id, order_id), arguments))
        return block

    async def follow(self, steps: Sequence[Step]) -> list[int]:
        """Take steps that the ledger has taken, in their order and one round trip.

        A fill answers 1 when applied, 0 when the view has it already; a release the paise freed, 0 on a
        repeat; a resize or a remargin 1. Of a view that was rebuilt since, nothing is left to do: 0 always.
        """
        async with self._redis.pipeline(transaction=False) as pipe:
            for step in steps:
                if isinstance(step, RemarginStep):
                    await self._remargin(*_remargining(step, must_be_covered=False), client=pipe)
                    continue
                keys = _keys(step.user_id, step.order_id)
                if isinstance(step, FillStep):
                    arguments = _filling(step)
                    await self._fill(keys, arguments, client=pipe)
                elif isinstance(step, ResizeStep):
                    await self._resize(keys, _resizing(step, must_be_covered=False), client=pipe)
                else:
                    await self._release(keys, [step.generation], client=pipe)
            return [_done(answer) for answer in await pipe.execute()] if steps else []

    async def resize(self, step: ResizeStep) -> tuple[ResizeOutcome, int]:
        """Resize a hold if available covers it; the outcome and what was available before."""
        keys = _keys(step.user_id, step.order_id)
        outcome, available = await self._resize(keys, _resizing(step, must_be_covered=True))
        return ResizeOutcome(outcome.decode()), int(available)

    async def remargin(self, step: RemarginStep) -> tuple[ResizeOutcome, int]:
        """Remargin if available covers the increase; the outcome and what was available before."""
        outcome, available = await self._remargin(*_remargining(step, must_be_covered=True))
        return ResizeOutcome(outcome.decode()), int(available)

    async def account(self, user_id: int) -> Account | None:
        """The view as it stands, None when there is none."""
        return (await self.accounts([user_id]))[0]

    async def accounts(self, user_ids: Sequence[int]) -> list[Account | None]:
        """The views of many accounts, in one round trip."""
        async with self._redis.pipeline(transaction=False) as pipe:
            for user_id in user_ids:
                pipe.hgetall(_account_key(user_id))
            views = await pipe.execute() if user_ids else []
        accounts = [{name.decode(): int(value) for name, value in view.items()} for view in views]
        return [Account(**account) if account else None for account in accounts]

    async def blocks(self, user_id: int, order_ids: Sequence[int]) -> list[Block]:
        """What is still blocked for these orders in the present view; for reconciliation."""
        wanted = ("outcome", "open", "close", "unit", "available", "generation")
        async with self._redis.pipeline(transaction=True) as pipe:
            for order_id in order_ids:
                pipe.hmget(_hold_key(user_id, order_id), wanted)
            answers = await pipe.execute() if order_ids else []
        view = await self.account(user_id)
        blocks = [_block([a[0], *map(int, a[1:])]) for a in answers if None not in a]
        return [b for b in blocks if view is not None and b.generation == view.generation]

    async def ensure(self, user_id: int) -> None:
        """Rebuild the view unless it stands and is of the ledger's generation. Raises AccountUnknown.

        Racing callers wait for the ledger row's lock; the first rebuilds, the others find it done. (A
        rebuild each would void what was blocked in the meantime.)
        """
        async with self._database.transaction() as conn:
            locked = await conn.execute(
                "SELECT generation FROM margin_ledger WHERE user_id = %s FOR UPDATE", (user_id,)
            )
            ledger = await locked.fetchone()
            if ledger is None:
                raise AccountUnknown(str(user_id))
            view = await self.account(user_id)
            if view is None or view.generation != ledger["generation"]:
                await self._rebuild(conn, user_id)

    async def renew(self, user_ids: Collection[int]) -> None:
        """Build views anew after a rollback, which may have left them ahead of the ledger. Raises nothing:
        what cannot be done now the reconciliation comes to."""
        try:
            for user_id in user_ids:
                await self.rebuild(user_id)
        except (psycopg.Error, PoolTimeout, RedisError, OSError) as error:
            log.warning("margin_views_left_ahead", error=str(error))

    async def rebuild(self, user_id: int) -> Account:
        """Load the ledger's state as a new generation, whatever stands. Raises AccountUnknown."""
        async with self._database.transaction() as conn:
            return await self._rebuild(conn, user_id)

    async def _rebuild(self, conn: Connection, user_id: int) -> Account:
        """The load happens under the ledger row's lock: no booking falls between the reading and it."""
        await conn.execute(
            "UPDATE margin_ledger SET generation = nextval('margin_generations') WHERE user_id = %s",
            (user_id,),
        )
        account, net, holds = await ledger_state(conn, user_id)
        arguments: list[Any] = [account.generation, account.cash, account.realized_pnl]
        arguments += [account.blocked, account.used, account.portfolio_blocked, account.portfolio_used]
        arguments += [account.portfolio_version, len(net)]
        for position, quantity in net.items():
            arguments += [position, quantity]
        for order_id, hold in holds.items():
            arguments += [_hold_key(user_id, order_id), hold.side.value, hold.position, int(hold.nets)]
            arguments += [hold.unit_margin, hold.open_quantity, hold.close_quantity]
        await self._load(_keys(user_id, None), arguments)
        return account


def _block(answer: list[Any]) -> Block:
    outcome, opening, closing, unit, available, generation = answer
    return Block(BlockOutcome(outcome.decode()), opening, closing, unit, available, generation)


def _filling(step: FillStep) -> list[str | int]:
    use, left = step.use, step.left
    sizes = [left.unit_margin, left.open_quantity, left.close_quantity]
    position: list[str | int] = [left.side.value, left.position, int(left.nets)]
    return [step.fill_id, step.generation, *sizes, use.used, use.realized_pnl, *position, use.quantity]


def _resizing(step: ResizeStep, *, must_be_covered: bool) -> list[str | int]:
    to = step.to
    sizes = [to.unit_margin, to.open_quantity, to.close_quantity]
    return [step.generation, *sizes, int(must_be_covered)]


def _remargining(step: RemarginStep, *, must_be_covered: bool) -> tuple[list[str], list[int]]:
    figures = [step.generation, step.version, step.blocked, step.used, int(must_be_covered)]
    return [_account_key(step.user_id)], figures


def _done(answer: Any) -> int:
    return int(answer[0] == b"RESIZED") if isinstance(answer, list) else int(answer)


def _account_key(user_id: int) -> str:
    # The braces keep all keys of one account in one slot of a Redis cluster.
    return f"margin:{{{user_id}}}"


def _hold_key(user_id: int, order_id: int) -> str:
    return f"{_account_key(user_id)}:hold:{order_id}"


def _keys(user_id: int, order_id: int | None) -> list[str]:
    keys = [_account_key(user_id), f"{_account_key(user_id)}:positions"]
    return keys if order_id is None else [*keys, _hold_key(user_id, order_id)]
