"""The steps of winding down: have every pending order cancelled, then place closing orders of the house.

Both may run again: a cancel of a finished order is refused, a closing order is placed once for its purpose. A
step looks on until nothing is left or its time is over; what is left is said, never hidden. Cancels are the
client's own in SQL, they wait for nobody's workflow. Called by the wind-down workflows.
"""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from temporalio import activity

from config.sessions import broker_hours
from domain.instruments import Instrument
from domain.orders import OrderTerms, Product
from domain.sessions import SessionClass
from domain.time import rfc3339
from domain.wind_down import OpenPosition, Selection, WindDown, closing_orders
from storage.database import Database
from storage.journals.intake import Intake
from storage.journals.order_requests import OrderRequest
from storage.orders.cancellations import CancelledBy
from storage.orders.canceller import OrderCanceller
from storage.risk import wind_downs
from storage.risk.wind_downs import PendingOrder

STEP_SECONDS, LOOK_SECONDS = 20.0, 0.25
"""How long a step waits for the exchange's word, and how often it looks."""
SETTLE_SECONDS = 2.0
"""How long the books may take for the orders that were cancelled before."""
ROUND_SECONDS = 5.0
"""Between two rounds: what refused the orders of one may be over."""
SQUARE_OFF = "square-off"


@dataclass(frozen=True, slots=True)
class WindDownStep:
    """What one step did, one sentence first."""

    sentence: str
    done: int
    left: int
    """Still pending, or still open."""
    time_ns: int


@dataclass(frozen=True, slots=True)
class SquareOffPlan:
    """The square-off of one session class on an ISO day, of one exchange unless none is named."""

    session_class: str
    day: str
    exchange: str | None = None
    carried_before_ns: int | None = None
    """Of what was left open then: the square-off was missed."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The order to wind down; none on a day without regular trading."""

    sentence: str
    order: WindDown | None = None


class WindDowns:
    def __init__(
        self,
        database: Database,
        intake: Intake,
        instruments: Mapping[str, Instrument],
        canceller: OrderCanceller,
    ) -> None:
        self._database, self._intake = database, intake
        self._instruments, self._canceller = instruments, canceller

    @activity.defn(name="plan_square_off")
    async def plan_square_off(self, asked: SquareOffPlan) -> Planned:
        """What the house's hours say of the day.

        Each run has a purpose of its own: it closes what is open and not being closed, so another one finds
        nothing to do, or what the first could not close.
        """
        day, session_class = date.fromisoformat(asked.day), SessionClass(asked.session_class)
        at_ns = broker_hours().square_off_ns(day, session_class)
        if at_ns is None:
            return Planned(f"{day} has no regular trading: nothing to square off.")
        before_ns = asked.carried_before_ns
        selection = Selection(
            exchange=asked.exchange,
            session_class=session_class,
            product=Product.MIS,
            carried_before_ns=before_ns,
        )
        purpose = f"{SQUARE_OFF}:{day}:{session_class}:{activity.info().workflow_run_id}"
        reason = "Intraday positions are closed before the market closes."
        order = WindDown(selection, purpose, SQUARE_OFF, reason, flatten=True, rounds=1)
        missed = f"; missed, of what was open at {rfc3339(before_ns)}" if before_ns is not None else ""
        return Planned(f"Square-off of {session_class} on {day}, due {rfc3339(at_ns)}{missed}.", order)

    @activity.defn(name="cancel_pending")
    async def cancel_pending(self, order: WindDown) -> WindDownStep:
        """Take back what is pending, until nothing is or the time is over.

        What the exchange would not cancel is asked for again.
        """
        by = CancelledBy(order.actor, order.reason)
        deadline, cancelled = time.monotonic() + STEP_SECONDS, set[int]()
        while True:
            pending = await self._pending(order)
            due = [one.order_id for one in pending if not one.cancel_requested]
            outcomes = await self._canceller.cancel(due, by)
            cancelled |= {order_id for order_id, one in outcomes.items() if one.refusal is None}
            activity.heartbeat(len(pending))
            if not pending or time.monotonic() > deadline:
                break
            await asyncio.sleep(LOOK_SECONDS)
        said = (
            f"{len(cancelled)} pending orders were cancelled or are being; {len(pending)} are still pending."
        )
        return WindDownStep(said, len(cancelled), len(pending), time.time_ns())

    @activity.defn(name="close_positions")
    async def close_positions(self, order: WindDown, round_number: int) -> WindDownStep:
        """Place the closing orders of this round, and wait until they have filled or come to nothing."""
        if round_number > 1:
            await asyncio.sleep(ROUND_SECONDS)
        await _until_none(lambda: self._closing(order), SETTLE_SECONDS)
        positions = await self._open(order)
        placed = 0
        for position in positions:
            instrument = self._instruments[position.instrument_id]
            for number, terms in enumerate(closing_orders(position, instrument), start=1):
                name = f"{position.user_id}:{position.instrument_id}|{position.product}"
                await self._place(order, f"{order.purpose}:{round_number}:{name}:{number}", position, terms)
                placed += 1
        await _until_none(lambda: self._closing(order))
        left = await self._open(order)
        users = len({position.user_id for position in positions})
        said = f"{placed} closing orders for {len(positions)} positions of {users} clients"
        return WindDownStep(f"{said}; {len(left)} are open.", placed, len(left), time.time_ns())

    async def _place(self, order: WindDown, purpose: str, position: OpenPosition, terms: OrderTerms) -> None:
        async with self._database.transaction() as conn:
            key = await wind_downs.house_key(conn, purpose, position.user_id, order.actor)
        # A repeat of this step is the same order, whatever is left of the position by then.
        body = hashlib.sha256(purpose.encode()).digest()
        request = OrderRequest(
            user_id=position.user_id,
            key=key,
            body_hash=body,
            terms=terms,
            received_at_ns=time.time_ns(),
            actor=order.actor,
        )
        await self._intake.accept(request)

    async def _pending(self, order: WindDown) -> list[PendingOrder]:
        return await wind_downs.pending_orders(self._database, order.selection)

    async def _closing(self, order: WindDown) -> list[OpenPosition]:
        """Open positions that an order may still close."""
        return [position for position in await self._open(order) if position.closing_quantity]

    async def _open(self, order: WindDown) -> list[OpenPosition]:
        return await wind_downs.open_positions(self._database, order.selection)


async def _until_none(
    look: Callable[[], Awaitable[Sequence[object]]], seconds: float = STEP_SECONDS
) -> Sequence[object]:
    """What is left when nothing is, or when the time is over."""
    deadline = time.monotonic() + seconds
    while (left := await look()) and time.monotonic() < deadline:
        activity.heartbeat(len(left))
        await asyncio.sleep(LOOK_SECONDS)
    return left
