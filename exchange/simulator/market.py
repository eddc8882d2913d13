"""The simulator's one matching thread: takes requests in arrival order, journals, answers, beats the feed.

Invariant: no report leaves before its step is on the disk, and the trade file holds a trade before its
report leaves. Requests that wait together share one fsync. After a restart the floor stands as the journal
says, and reports that may not have left are repeated with PossResend.
"""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import NamedTuple

from config.sessions import session_rules
from domain.instructions import Instruction
from domain.instruments import Instrument
from domain.reports import Announcement, ExecType, ExecutionReport, Report
from exchange.simulator.control import Answer, Controlled, ControlRefused
from exchange.simulator.floor import QUIET, Floor
from exchange.simulator.journal import Journal, JournalStep, JournalTrade, TradeFile
from exchange.simulator.matching import events as happened
from exchange.simulator.pace import BEATS_A_SECOND
from exchange.simulator.tape import HEARTBEAT_NS, FeedSocket, Tape
from exchange.simulator.venue import Venue

BEAT_SECONDS = 1 / BEATS_A_SECOND
BATCH_MAX = 500

_TRADES = frozenset({ExecType.TRADE, ExecType.TRADE_CANCEL, ExecType.TRADE_CORRECT})

Send = Callable[[str, Report, bool], None]
"""(session, report, poss_resend)."""


class MarketRequest(NamedTuple):
    session: str
    instruction: Instruction
    repeated: bool


class LoggedOn(NamedTuple):
    session: str


class Stop(NamedTuple):
    pass


Item = MarketRequest | LoggedOn | Controlled | Stop


class Market:
    """Everything of one exchange except the wire. `inbox` may be filled from any thread."""

    def __init__(
        self,
        exchange: str,
        instruments: dict[str, Instrument],
        data_dir: Path,
        seed: int,
        send: Send,
        feed: FeedSocket | None = None,
        follow_calendar: bool = False,
        trade_files: Path | None = None,
        pace: float = QUIET,
    ) -> None:
        """`trade_files`: where the day's trade file is put; None: beside everything else in `data_dir`.
        `pace`: how often a liquid instrument moves in a second."""
        self.inbox: SimpleQueue[Item] = SimpleQueue()
        self._send, self._feed = send, feed
        self._now_ns = time.time_ns()
        self._tape = Tape(exchange, instruments.values(), int(time.time()))
        rules = session_rules()
        day = (rules, seed, follow_calendar, self._now_ns)
        self.floor = Floor(exchange, instruments, *day, self._print, pace)
        self.venue = self.floor.venue
        state = data_dir / f"simulator-{exchange}"
        state.mkdir(parents=True, exist_ok=True)
        self._journal = Journal(state / "journal.jsonl")
        self._trades = TradeFile(trade_files or data_dir, exchange)
        self._sessions: set[str] = set()
        self._answers: list[tuple[Controlled, str]] = []
        self._heartbeat_due_ns = 0

    def recover(self) -> None:
        """Take up where the journal ends, then open the market; to be called once, before `run`."""
        steps, sent = self._journal.read()
        self.floor.restore(steps)
        self._trades.complete([trade for step in steps for trade in trades_of(self.venue, step)])
        for step in steps[sent:]:
            self._deliver(step, poss_resend=True)
        self._commit([self.floor.open(steps, self._now_ns)])
        self._turn()
        self._publish()

    def run(self) -> None:
        """Until `Stop`."""
        due = time.monotonic()
        while True:
            items = self._drain(max(0.0, due - time.monotonic()))
            self._now_ns = time.time_ns()
            if items:
                self._turn()
                self._commit([step for item in items for step in self._steps(item)])
                self._answer_control()
                if any(isinstance(item, Stop) for item in items):
                    self._journal.close()
                    return
            if time.monotonic() >= due:
                due = time.monotonic() + BEAT_SECONDS
                self._turn()
                self._commit([self.floor.beat(self._now_ns)])
                self._publish()

    def _drain(self, seconds: float) -> list[Item]:
        items: list[Item] = []
        try:
            items.append(self.inbox.get(timeout=seconds) if seconds else self.inbox.get_nowait())
            while len(items) < BATCH_MAX:
                items.append(self.inbox.get_nowait())
        except Empty:
            pass
        return items

    def _steps(self, item: Item) -> list[JournalStep]:
        match item:
            case MarketRequest(session, instruction, repeated):
                return [self.floor.ask(session, instruction, repeated, self._now_ns)]
            case LoggedOn(session):
                self._sessions.add(session)
                for announcement in self.floor.announced():
                    self._send(session, announcement, False)
                return []
            case Controlled():
                return self._control(item)
            case Stop():
                return []

    def _control(self, item: Controlled) -> list[JournalStep]:
        try:
            steps = self.floor.control(item.command, self._now_ns)
        except ControlRefused as error:
            self._answers.append((item, str(error)))
            return []
        self._answers.append((item, ""))
        return steps

    def _answer_control(self) -> None:
        for controlled, refused in self._answers:
            flow = self.floor.flows.get(getattr(controlled.command, "symbol", ""))
            answer: Answer = refused or (dict(flow.outcomes) if flow else {})
            controlled.answer.put(answer)
        self._answers.clear()

    def _turn(self) -> None:
        """Phases that are due come before what was asked after them; each is durable by itself."""
        for step in self.floor.turn(self._now_ns):
            self._commit([step])

    def _commit(self, steps: list[JournalStep]) -> None:
        """Journal, trade file, then the wire, in this order."""
        steps = [step for step in steps if step.told or step.request]
        if not steps:
            return
        self._journal.append(steps)
        self._trades.append([trade for step in steps for trade in trades_of(self.venue, step)])
        for step in steps:
            self._deliver(step, poss_resend=False)
        self._journal.mark_sent()

    def _deliver(self, step: JournalStep, *, poss_resend: bool) -> None:
        for session, report in step.told:
            # An announcement is told to whoever is here; others hear at logon where the market stands.
            to_all = isinstance(report, Announcement)
            for name in sorted(self._sessions) if to_all else [session]:
                self._send(name, report, poss_resend)

    def _print(self, symbol: str, trade: happened.Traded) -> None:
        self._tape.trade(symbol, trade.price, trade.quantity, self._now_ns)

    def _publish(self) -> None:
        for symbol in self.floor.touched & self.venue.books.keys():
            self._tape.quote(symbol, self.venue.books[symbol], self._now_ns)
        self.floor.touched.clear()
        ticks = self._tape.ticks(self._now_ns)
        if self._feed is None:
            return
        if ticks or self._now_ns >= self._heartbeat_due_ns:
            self._feed.send(ticks or [self._tape.heartbeat(self._now_ns)])
            self._heartbeat_due_ns = self._now_ns + HEARTBEAT_NS
        self._feed.answer_snapshots(self._tape, self._now_ns)


def trades_of(venue: Venue, step: JournalStep) -> Iterator[JournalTrade]:
    """The trade file's rows: a trade taken back is a row with its quantity negated."""
    for _, report in step.told:
        if not isinstance(report, ExecutionReport) or report.exec_type not in _TRADES:
            continue
        code = venue.requests[report.cl_ord_id].request.client_code
        if report.exec_type is not ExecType.TRADE:
            undone = venue.trades[report.reference_exec_id or ""]
            yield JournalTrade(code, report, -undone.last_quantity, undone.last_price)
        if report.exec_type is not ExecType.TRADE_CANCEL:
            yield JournalTrade(code, report, report.last_quantity, report.last_price)
