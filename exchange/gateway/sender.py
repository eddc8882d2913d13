"""One exchange's sender: first what is unknown, then what is owed, in acknowledgement order.

Claimed in one transaction, stamped, sent, then handed to the writer to be marked: on record no answer is
older than what it answers. A row found claimed and not marked is repeated with PossResend and its ClOrdID; a
row sent and unanswered when a session comes back is asked about with OrderStatusRequest, and sent again only
when the exchange says that it has no such order. What a freeze stops does not leave, also if it was claimed;
if it may have left before, the exchange is asked.
"""

import asyncio
import time
from collections.abc import Sequence

import structlog

from bus.wakeups import Wakeup
from config.crash_points import crash_point
from domain.instructions import StatusRequest
from domain.time import NANOS
from exchange.fix.fields import CodecError
from exchange.gateway.fix_engine import FixEngine, FixLink
from exchange.gateway.kill_switch import Brake
from exchange.gateway.telemetry import ORDERS_SENT, send_span
from exchange.gateway.writer import Writer
from storage.database import Database, StoreUnavailable
from storage.journals import outbox
from storage.journals.outbox import OutboxRow, Sent
from telemetry import stages

POLL_SECONDS = 0.25
UNANSWERED_SECONDS = 3
"""Older than this without an answer, a send is asked about; also how long after a logon we ask."""
CLAIMED_AT_ONCE = 2000
HELD_SECONDS = 5.0
SENDS_A_TURN, TURN_SECONDS = 500, 0.02
"""Then the risk desk is asked again, and the loop may look at reports."""
log = structlog.get_logger()


class Sender:
    """Runs until it is cancelled; the loop is its only thread."""

    def __init__(
        self,
        exchange: str,
        trunks: Sequence[FixLink],
        database: Database,
        line: FixEngine,
        writer: Writer,
        brake: Brake,
    ) -> None:
        self.exchange = exchange
        self._trunks = trunks
        self._database = database
        self._line = line
        self._writer = writer
        self._brake = brake
        self._repeat_due = True
        self._asked_logon: dict[str, float] = {}

    def repeat_unknown(self) -> None:
        """At the next turn, repeat what is claimed and not marked sent."""
        self._repeat_due = True

    async def run(self, wakeup: Wakeup) -> None:
        while True:
            try:
                while await self._turn():
                    pass
                await self._brake.withdraw()
            except StoreUnavailable as error:
                # What was claimed and not handed over counts as unknown from here on.
                self._repeat_due = True
                log.warning("outbox_waits_for_database", exchange=self.exchange, error=str(error))
            await wakeup.wait(POLL_SECONDS)

    async def _turn(self) -> bool:
        """One claim and its sends; True when there may be more."""
        carriers = self._carriers()
        if not any(carriers):
            return False
        if self._repeat_due:
            # Only when nothing of ours is between claim and mark does "claimed, not sent" mean unknown.
            await self._writer.settled()
            self._repeat_due = not all(carriers)
            async with self._database.reading() as conn:
                owed = await outbox.unknown(conn, self.exchange, [c for c in carriers if c])
            await self._send(owed, repeated=True)
            await self._writer.settled()
        await self._ask_unanswered()
        owed = await self._claim(carriers)
        if len(owed) < CLAIMED_AT_ONCE:
            await self._send(owed, repeated=False, just_asked=True)
        else:
            await self._burst(carriers, owed)
        return bool(owed)

    async def _burst(self, carriers: Sequence[str | None], owed: Sequence[OutboxRow]) -> None:
        """At the bell orders go first: while one claim is sent the next is made, and what there is to write
        and to read waits, for HELD_SECONDS at most. Ends when there is nothing to claim.
        """
        # A session that is away keeps a repeat due; from here on it means that one did not take an order.
        was_due, self._repeat_due = self._repeat_due, False
        self._writer.hold()
        self._line.hold(self._resume)
        resuming = asyncio.get_running_loop().call_later(HELD_SECONDS, self._resume)
        try:
            while owed and not self._repeat_due:
                claiming = asyncio.create_task(self._claim(carriers), name="claim")
                try:
                    await self._send(owed, repeated=False)
                finally:
                    await asyncio.wait([claiming])
                owed = claiming.result()
                # Claimed for a session that has gone, or behind what it did not take: that counts as unknown.
                self._repeat_due |= self._carriers() != carriers
        finally:
            self._repeat_due |= was_due or bool(owed)
            resuming.cancel()
            self._resume()

    def _carriers(self) -> list[str | None]:
        """The sessions, None for each that may not be sent on now."""
        return [trunk.session.name if trunk.carries else None for trunk in self._trunks]

    def _resume(self) -> None:
        self._writer.resume()
        self._line.resume()

    async def _claim(self, carriers: Sequence[str | None]) -> list[OutboxRow]:
        async with self._database.transaction() as conn:
            owed = await outbox.claim(conn, self.exchange, carriers, time.time_ns(), CLAIMED_AT_ONCE)
        if owed:
            crash_point("gateway.after_claim")
        return owed

    async def _send(self, owed: Sequence[OutboxRow], *, repeated: bool, just_asked: bool = False) -> None:
        """Send in order; what a session did not take stays unknown and is repeated later."""
        at = 0
        while at < len(owed):
            turn = owed[at : at + SENDS_A_TURN]
            # The claim has just asked what is stopped; since then a freeze may have come.
            stopped = set() if just_asked and not at else await self._brake.stopped(turn)
            if stopped and not repeated:
                await self._brake.put_back(stopped)
            began, sent = time.monotonic(), list[Sent | None]()
            for o in turn:
                at += 1
                if o.seq not in stopped:
                    sent.append(self._send_one(o, repeated))
                elif repeated:
                    sent.append(self._ask(o))
                if time.monotonic() - began > TURN_SECONDS:
                    break
            if left := [s for s in sent if s is not None]:
                crash_point("gateway.after_send")
                self._writer.sent(left)
            await asyncio.sleep(0)

    def _send_one(self, owed: OutboxRow, repeated: bool) -> Sent | None:
        # What the exchange was once told and did not know is owed anew, and said as the repeat that it is.
        repeated = repeated or owed.sends > 0
        # Before the bytes go: QuickFIX's thread may stamp the answer before this one goes on.
        sent_at_ns = time.time_ns()
        with send_span(owed, self.exchange, repeated):
            try:
                taken = self._line.send(owed.session, owed.instruction, poss_resend=repeated)
            except CodecError as error:
                log.error("request_not_encodable", order_id=owed.order_id, error=str(error))
                return None
        if not taken:
            self._repeat_due = True
            return None
        ORDERS_SENT.add(1, {"exchange": self.exchange, "kind": owed.kind})
        stages.record("outbox", sent_at_ns - owed.created_at_ns)
        return Sent(owed, sent_at_ns, repeated)

    async def _ask_unanswered(self) -> None:
        """Once a logon, when its resends have had time to arrive: ask what became of older sends."""
        for trunk in self._trunks:
            name, since = trunk.session.name, trunk.logged_on_at
            due = since is not None and time.monotonic() - since >= UNANSWERED_SECONDS
            if since is None or not due or self._asked_logon.get(name) == since:
                continue
            self._asked_logon[name] = since
            await self._writer.settled()
            before_ns = time.time_ns() - UNANSWERED_SECONDS * NANOS
            async with self._database.reading() as conn:
                silent = await outbox.unanswered(conn, self.exchange, name, before_ns)
            for owed in silent:
                self._ask(owed)

    def _ask(self, owed: OutboxRow) -> Sent:
        """What became of this? If the exchange does not know, it is owed anew, and then perhaps stopped."""
        log.info("order_status_requested", order_id=owed.order_id, session=owed.session)
        instruction = owed.instruction
        assert not isinstance(instruction, StatusRequest)
        question = StatusRequest(owed.cl_ord_id, instruction.symbol, instruction.side)
        asked_at_ns = time.time_ns()
        self._line.send(owed.session, question, poss_resend=False)
        return Sent(owed, asked_at_ns, repeated=False, asked=True)
