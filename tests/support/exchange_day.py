"""An exchange without wire or clock: requests and phases by hand, its journal on a real disk, killed at will.

Nobody else is in the market unless `crowded`, so that a test's orders are all there is.
"""

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from config.sessions import session_rules
from domain.instructions import CancelOrder, NewOrder, ReplaceOrder
from domain.instruments import Instrument
from domain.orders import OrderType, Side, Validity
from domain.reports import (
    BandSet,
    CancelRejected,
    ExecType,
    ExecutionReport,
    MarketPhase,
    OrdStatus,
    SessionPhase,
)
from domain.sessions import SessionClass
from domain.time import IST, NANOS
from exchange.files.master import read_master
from exchange.simulator.control import Command, PhaseCommand
from exchange.simulator.floor import Floor
from exchange.simulator.journal import Journal, JournalStep, TradeFile
from exchange.simulator.market import trades_of

SESSION = "FIXT.1.1:NSE->HUNDI01"
Told = ExecutionReport | CancelRejected

MASTER = read_master("NSE")
TCS, ETF = MASTER["TCS"], MASTER["NIFTYBEES"]
FUTURE = next(row for row in MASTER.values() if row.kind == "FUTURE" and row.underlying == "NSE:TCS")
OPTION = next(row for row in MASTER.values() if row.kind == "OPTION" and row.underlying == "NSE:TCS")
FOUR = {row.symbol: row for row in (TCS, ETF, FUTURE, OPTION)}
"""One of each session class."""


def near(ticks: int) -> int:
    """A price of TCS some ticks from its previous close."""
    return TCS.previous_close + ticks * TCS.tick_size


def kinds(told: list[Told]) -> list[tuple[str, ExecType, OrdStatus]]:
    """(ClOrdID, ExecType, OrdStatus) of execution reports."""
    return [(r.cl_ord_id, r.exec_type, r.ord_status) for r in told if isinstance(r, ExecutionReport)]


def fills(told: list[Told]) -> list[tuple[str, int, int]]:
    """(ClOrdID, quantity, price) of trades."""
    reports = [r for r in told if isinstance(r, ExecutionReport) and r.exec_type is ExecType.TRADE]
    return [(r.cl_ord_id, r.last_quantity, r.last_price) for r in reports]


def at(moment: str) -> int:
    """An IST wall clock's time as an instant."""
    return int(datetime.fromisoformat(moment).replace(tzinfo=IST).timestamp()) * NANOS


class ExchangeDay:
    def __init__(
        self,
        directory: Path,
        instruments: Mapping[str, Instrument],
        moment: str = "2026-11-23 10:00:00",
        *,
        crowded: bool = False,
        follow_calendar: bool = False,
        exchange: str = "NSE",
        trade_file: TradeFile | None = None,
    ) -> None:
        self._exchange, self._trade_file = exchange, trade_file
        self.now_ns = at(moment)
        self.phases: list[tuple[SessionClass, MarketPhase]] = []
        self.announced: list[SessionPhase] = []
        self.bands: list[BandSet] = []
        self._path, self._crowded = directory / "journal.jsonl", crowded
        self._instruments, self._follow_calendar = dict(instruments), follow_calendar
        self._start()

    def kill(self) -> None:
        """Lose everything that is not in the journal."""
        self._journal.close()
        self._start()

    def order(
        self, cl_ord_id: str, side: Side, quantity: int, price: int | None = None, **more: Any
    ) -> list[Told]:
        """A market order unless a price is given; `symbol`, `order_type`, `validity`, `trigger` otherwise."""
        kind = more.get("order_type", OrderType.LIMIT if price else OrderType.MARKET)
        symbol = more.get("symbol", next(iter(self._instruments)))
        terms = (kind, more.get("validity", Validity.DAY), price, more.get("trigger"), self.now_ns)
        return self.ask(NewOrder(cl_ord_id, "DEMO0001", symbol, side, quantity, *terms))

    def ask(self, request: NewOrder | CancelOrder | ReplaceOrder, *, repeated: bool = False) -> list[Told]:
        """`repeated`: with PossResend."""
        return self._journaled([self.floor.ask(SESSION, request, repeated, self._tick())])

    def control(self, command: Command) -> list[Told]:
        """Raises ControlRefused."""
        return self._journaled(self.floor.control(command, self._tick()))

    def enter(self, *phases: MarketPhase, session_class: SessionClass | None = None) -> list[Told]:
        """Enter phases one after the other."""
        return [told for phase in phases for told in self.control(PhaseCommand(phase, session_class))]

    def until(self, now_ns: int) -> list[Told]:
        """Let the timetable come to an instant, and the others, if there are any, act."""
        self.now_ns = now_ns
        told = [told for step in self.floor.turn(now_ns) for told in self._journaled([step])]
        return told + self._journaled([self.floor.beat(now_ns)])

    def _tick(self) -> int:
        self.now_ns += NANOS
        return self.now_ns

    def _journaled(self, steps: list[JournalStep]) -> list[Told]:
        self._journal.append(steps)
        if self._trade_file is not None:
            self._trade_file.append([row for step in steps for row in trades_of(self.floor.venue, step)])
        reports = [told.report for step in steps for told in step.told]
        announced = [r for r in reports if isinstance(r, SessionPhase)]
        self.announced += announced
        self.phases += [(SessionClass(p.session_class or ""), p.phase) for p in announced]
        self.bands += [r for r in reports if isinstance(r, BandSet)]
        return [r for r in reports if isinstance(r, ExecutionReport | CancelRejected)]

    def _start(self) -> None:
        rules = session_rules()
        terms = (self._instruments, rules, 1, self._follow_calendar, self.now_ns, lambda *_: None)
        self.floor = Floor(self._exchange, *terms)
        if not self._crowded:
            self.floor.participants.withdrawn.update(self._instruments)
        self._journal = Journal(self._path)
        steps, _ = self._journal.read()
        self.floor.restore(steps)
        self._journaled([self.floor.open(steps, self.now_ns)])
