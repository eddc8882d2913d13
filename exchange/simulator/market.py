"""The simulator's one matching thread: takes requests in arrival order, journals, answers, beats the feed.

Invariant: no report leaves before its step is on the disk, and the trade file holds a trade before its
report leaves. Requests that wait together share one fsync. After a restart the venue stands as the journal
says, and reports that may not have left are repeated with PossResend.
"""

import time
from collections.abc import Callable
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from domain.instructions import Instruction
from domain.instruments import Instrument, Segment
from domain.reports import ExecType, ExecutionReport, MarketPhase, Report, SessionPhase
from domain.time import trade_date
from exchange.simulator import events as happened
from exchange.simulator.control import (
    Command,
    Controlled,
    EndFlowCommand,
    FlowCommand,
    PhaseCommand,
    PricesCommand,
)
from exchange.simulator.flow import Flow
from exchange.simulator.journal import Journal, Step, Trade, TradeFile
from exchange.simulator.participants import Participants
from exchange.simulator.sessions import SessionPlan
from exchange.simulator.tape import HEARTBEAT_NS, FeedSocket, Tape
from exchange.simulator.venue import Addressed, Venue

BEAT_SECONDS = 0.05
REFRESHED_A_BEAT = 2
BATCH_MAX = 500
PARTICIPANTS = ""
"""The session name of steps that nobody asked for."""

Send = Callable[[str, Report, bool], None]
"""(session, report, poss_resend)."""


class Asked(NamedTuple):
    session: str
    instruction: Instruction
    repeated: bool


class LoggedOn(NamedTuple):
    session: str


class Stop(NamedTuple):
    pass


Item = Asked | LoggedOn | Controlled | Stop


class Market:
    """Everything of one exchange except the wire. `inbox` may be filled from any thread.

    With a `plan` the clock drives the phases; without one the market stays open until told otherwise.
    """

    def __init__(
        self,
        exchange: str,
        instruments: dict[str, Instrument],
        data_dir: Path,
        seed: int,
        send: Send,
        feed: FeedSocket | None = None,
        plan: SessionPlan | None = None,
    ) -> None:
        self.inbox: SimpleQueue[Item] = SimpleQueue()
        self._exchange, self._send, self._feed, self._plan = exchange, send, feed, plan
        self._tape = Tape(exchange, instruments.values(), int(time.time()))
        self.venue = Venue(exchange, instruments, on_trade=self._print)
        self._participants = Participants(self.venue, seed)
        state = data_dir / f"simulator-{exchange}"
        state.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(state / "journal.jsonl")
        self._trades = TradeFile(data_dir, exchange)
        self._sessions: set[str] = set()
        self._touched: set[str] = set()
        self._flows: dict[str, Flow] = {}
        self._answers: list[Controlled] = []
        self._now_ns = time.time_ns()
        self._phase_since_ns = self._now_ns
        if plan is not None:
            self.venue.phase = plan.phase_at(self._now_ns)
        self._heartbeat_due_ns = 0

    def recover(self) -> None:
        """Take up where the journal ends, then open the market; to be called once, before `run`."""
        steps, sent = self._journal.read()
        for step in steps:
            self.venue.restore(step.session, step.request, [told.report for told in step.told])
        self.venue.rest()
        self._trades.complete(self._trades_of(steps))
        for step in steps[sent:]:
            self._deliver(step, poss_resend=True)
        self._roll_over(steps)
        self._commit([Step(PARTICIPANTS, None, self._participants.open(self._now_ns))])
        self._touched.update(self.venue.books)
        self._publish()

    def run(self) -> None:
        """Until `Stop`."""
        due = time.monotonic()
        while True:
            items = self._drain(max(0.0, due - time.monotonic()))
            self._now_ns = time.time_ns()
            if items:
                self._commit([step for item in items for step in self._steps(item)])
                self._answer_control()
                if any(isinstance(item, Stop) for item in items):
                    self._journal.close()
                    return
            if time.monotonic() >= due:
                due = time.monotonic() + BEAT_SECONDS
                self._beat()

    def _answer_control(self) -> None:
        for controlled in self._answers:
            symbol = getattr(controlled.command, "symbol", "")
            flow = self._flows.get(symbol)
            controlled.answer.put(dict(flow.outcomes) if flow else {})
        self._answers.clear()

    def _drain(self, seconds: float) -> list[Item]:
        items: list[Item] = []
        try:
            items.append(self.inbox.get(timeout=seconds) if seconds else self.inbox.get_nowait())
            while len(items) < BATCH_MAX:
                items.append(self.inbox.get_nowait())
        except Empty:
            pass
        return items

    def _steps(self, item: Item) -> list[Step]:
        match item:
            case Asked(session, instruction, repeated):
                told = self.venue.handle(session, instruction, repeated, self._now_ns)
                self._touched.add(instruction.symbol)
                return [Step(session, instruction, told)]
            case LoggedOn(session):
                self._sessions.add(session)
                self._announce([session])
                return []
            case Controlled():
                step = Step(PARTICIPANTS, None, self._control(item.command))
                self._answers.append(item)
                return [step]
            case Stop():
                return []

    def _control(self, command: Command) -> list[Addressed]:
        match command:
            case FlowCommand(symbol, events):
                flow = self._flow(symbol)
                self._touched.add(symbol)
                return [told for event in events for told in flow.apply(event, self._now_ns)] if flow else []
            case EndFlowCommand(symbol):
                if flow := self._flows.pop(symbol, None):
                    flow.end()
                self._participants.withdrawn.discard(symbol)
                self._touched.add(symbol)
                return self._participants.refresh(symbol, self._now_ns)
            case PricesCommand(rows):
                return [told for row in rows for told in self._price(*row)]
            case PhaseCommand(phase):
                return self._enter_phase(phase)

    def _flow(self, symbol: str) -> Flow | None:
        """The symbol's running flow, begun if need be; None for a symbol that is not traded here."""
        if symbol not in self._flows and symbol in self._participants.symbols:
            self._participants.withdraw(symbol)
            self._participants.withdrawn.add(symbol)
            self._flows[symbol] = Flow(self.venue, self.venue.instruments[symbol])
        return self._flows.get(symbol)

    def _price(self, symbol: str, price: int, quantity: int) -> list[Addressed]:
        """A recorded price: the participants quote one tick around it and it goes on the tape."""
        if symbol not in self.venue.books:
            return []
        self._touched.add(symbol)
        told = self._participants.quote_around(symbol, price, self._now_ns)
        told += self.venue.print_trade(symbol, price, self._now_ns)
        self._tape.trade(symbol, price, quantity, self._now_ns)
        return told

    def _enter_phase(self, phase: MarketPhase) -> list[Addressed]:
        """The day's orders expire when the market closes; every session hears of the phase."""
        self.venue.phase, self._phase_since_ns = phase, self._now_ns
        self._announce(sorted(self._sessions))
        if phase is not MarketPhase.CLOSED:
            return []
        self._touched.update(self.venue.books)
        return self.venue.expire_day(self._now_ns)

    def _announce(self, sessions: list[str]) -> None:
        for session in sessions:
            for segment in Segment:
                phase = SessionPhase(self._exchange, segment, self.venue.phase, self._phase_since_ns)
                self._send(session, phase, False)

    def _beat(self) -> None:
        if self._plan is not None:
            phase = self._plan.phase_at(self._now_ns)
            if phase is not self.venue.phase:
                self._commit([Step(PARTICIPANTS, None, self._enter_phase(phase))])
        if self.venue.phase is MarketPhase.CONTINUOUS:
            told: list[Addressed] = []
            for _ in range(REFRESHED_A_BEAT):
                symbol = self._participants.next_symbol()
                told += self._participants.refresh(symbol, self._now_ns)
                self._touched.add(symbol)
            self._commit([Step(PARTICIPANTS, None, told)])
        self._publish()

    def _commit(self, steps: list[Step]) -> None:
        """Journal, trade file, then the wire, in this order."""
        steps = [step for step in steps if step.told]
        if not steps:
            return
        self._journal.append(steps)
        self._trades.append(self._trades_of(steps))
        for step in steps:
            self._deliver(step, poss_resend=False)
        self._journal.mark_sent()

    def _deliver(self, step: Step, *, poss_resend: bool) -> None:
        for session, report in step.told:
            self._send(session, report, poss_resend)

    def _trades_of(self, steps: list[Step]) -> list[Trade]:
        return [
            Trade(self.venue.requests[report.cl_ord_id].request.client_code, report)
            for step in steps
            for _, report in step.told
            if isinstance(report, ExecutionReport) and report.exec_type is ExecType.TRADE
        ]

    def _roll_over(self, steps: list[Step]) -> None:
        """Orders of an earlier day end before this one begins."""
        times = [
            told.report.transact_time_ns
            for step in steps
            for told in step.told
            if isinstance(told.report, ExecutionReport)
        ]
        if times and trade_date(times[-1]) != trade_date(self._now_ns):
            self._commit([Step(PARTICIPANTS, None, self.venue.expire_day(self._now_ns))])

    def _print(self, symbol: str, trade: happened.Traded) -> None:
        self._tape.trade(symbol, trade.price, trade.quantity, self._now_ns)
        self._touched.add(symbol)

    def _publish(self) -> None:
        for symbol in self._touched & self.venue.books.keys():
            self._tape.quote(symbol, self.venue.books[symbol], self._now_ns)
        self._touched.clear()
        ticks = self._tape.ticks(self._now_ns)
        if self._feed is None:
            return
        if ticks or self._now_ns >= self._heartbeat_due_ns:
            self._feed.send(ticks or [self._tape.heartbeat(self._now_ns)])
            self._heartbeat_due_ns = self._now_ns + HEARTBEAT_NS
        self._feed.answer_snapshots(self._tape, self._now_ns)
