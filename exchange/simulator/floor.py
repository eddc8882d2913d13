"""Everything of an exchange that trades: venue, participants, replayed flow and the day they live through.

No wire, no disk, no clock: time is passed in, and each verb returns the step that must be journaled before
anybody hears of it. `restore` takes such steps back in. One thread calls it: market.py.
"""

from collections.abc import Callable, Iterable, Iterator

from domain.instructions import Instruction
from domain.instruments import Instrument
from domain.price_bands import PriceLimits
from domain.reports import Announcement, BandSet, ExecutionReport, MarketPhase
from domain.sessions import SessionClass, SessionRules, session_classes
from domain.time import NANOS, trade_date
from exchange.simulator import recovery
from exchange.simulator.control import (
    BustCommand,
    Command,
    ControlRefused,
    CorrectCommand,
    DayCommand,
    EndFlowCommand,
    FlexCommand,
    FlowCommand,
    HaltCommand,
    PhaseCommand,
    PricesCommand,
)
from exchange.simulator.corrections import bust, correct
from exchange.simulator.flow import Flow
from exchange.simulator.journal import JournalStep
from exchange.simulator.matching import events as happened
from exchange.simulator.pace import Pace
from exchange.simulator.participants import Participants
from exchange.simulator.session.averages import Averages
from exchange.simulator.session.bands import Bands, Flex
from exchange.simulator.session.timetable import (
    TRADING,
    CompressedDay,
    TimedHalt,
    Timetable,
    calendar_day,
    compressed_day,
    halted,
)
from exchange.simulator.session.trading_day import SimulatedDay
from exchange.simulator.venue import EVERY_SESSION, Addressed, Venue

QUIET = 0.5
NOBODY = ""
"""The session name of steps that no broker asked for."""
Print = Callable[[str, happened.Traded], None]


class Floor:
    """With `follow_calendar` the rules' hours drive the phases; else it is open until told otherwise."""

    def __init__(
        self,
        exchange: str,
        instruments: dict[str, Instrument],
        rules: SessionRules,
        seed: int,
        follow_calendar: bool,
        now_ns: int,
        on_trade: Print,
        pace: float = QUIET,
    ) -> None:
        """`pace`: how often a liquid instrument moves in a second."""
        today = trade_date(now_ns)
        by_id = session_classes(instruments.values(), today)
        classes = {symbol: by_id[row.instrument_id] for symbol, row in instruments.items()}
        bands = {c: rules.closing_rule(today, c).band_percent for c in SessionClass}
        percents = {c: percent for c, percent in bands.items() if percent is not None}
        self.venue = Venue(exchange, instruments, classes, percents, self._traded)
        self.participants = Participants(self.venue, seed)
        self._pace = Pace(instruments, classes, pace)
        self.flows: dict[str, Flow] = {}
        self.touched: set[str] = set()
        """Symbols whose book has changed since the feed last looked."""
        self._rules, self._seed, self._follow_calendar = rules, seed, follow_calendar
        self._on_trade, self._now_ns = on_trade, now_ns
        self._averages = Averages()
        self._day = SimulatedDay(self.venue, self.participants, self._averages)
        self._bands = Bands(exchange, instruments)
        self._timetable = self._begin(now_ns)

    def ask(self, session: str, instruction: Instruction, repeated: bool, now_ns: int) -> JournalStep:
        """A broker's request."""
        self._now_ns = now_ns
        self.touched.add(instruction.symbol)
        return JournalStep(session, instruction, self.venue.handle(session, instruction, repeated, now_ns))

    def control(self, command: Command, now_ns: int) -> list[JournalStep]:
        """An operator's command. Raises ControlRefused."""
        self._now_ns = now_ns
        match command:
            case PhaseCommand(phase, session_class):
                classes = [session_class] if session_class else list(SessionClass)
                return [self._enter(c, phase, now_ns, now_ns, 0) for c in classes]
            case DayCommand(phase_seconds):
                return [self._play(round(phase_seconds * NANOS), now_ns)]
            case HaltCommand(seconds, auction_seconds):
                halt = TimedHalt(now_ns, round(seconds * NANOS), round(auction_seconds * NANOS))
                self._halt(halt)
                return [JournalStep(NOBODY, halt, [])]
            case FlexCommand(symbol, side):
                return [self._flex(Flex(symbol, side, now_ns))]
            case BustCommand(exec_id):
                return [JournalStep(NOBODY, None, bust(self.venue, exec_id, now_ns))]
            case CorrectCommand(exec_id, quantity, price):
                return [JournalStep(NOBODY, None, correct(self.venue, exec_id, quantity, price, now_ns))]
            case _:
                return [JournalStep(NOBODY, None, self._replay(command, now_ns))]

    def turn(self, now_ns: int) -> Iterator[JournalStep]:
        """The phases that have come, one step each, in order."""
        self._now_ns = now_ns
        if self._bands.turn_to(trade_date(now_ns)):
            self.venue.bands.clear()
        if self._follow_calendar and self._timetable.day != trade_date(now_ns):
            self._timetable = self._begin(now_ns)
        for due in self._timetable.dues:
            if due.at_ns > now_ns:
                return
            if due.at_ns > self.venue.sessions[due.session_class].since_ns:
                yield self._enter(due.session_class, due.phase, due.at_ns, now_ns, due.average_since_ns)

    def beat(self, now_ns: int) -> JournalStep:
        """A few instruments' participants, in turn, and in the post-close whoever is waited for."""
        self._now_ns = now_ns
        turns = self._pace.beat()
        waiting = [symbol for symbol, book in self.venue.books.items() if book.orders]
        acting = [s for s in turns if self.venue.phase_of(s) is MarketPhase.CONTINUOUS]
        acting += [s for s in waiting if self.venue.phase_of(s) is MarketPhase.POST_CLOSE]
        self.touched.update(acting)
        told = [told for symbol in acting for told in self.participants.act(symbol, now_ns)]
        return JournalStep(NOBODY, None, told)

    def restore(self, steps: Iterable[JournalStep]) -> None:
        """Stand as the journal says; phases of an earlier day are over."""
        today = trade_date(self._now_ns)
        opening = dict(self.venue.sessions)
        for step in steps:
            recovery.restore(self.venue, step)
            self._averages.restore(told.report for told in step.told)
            match step.request:
                case CompressedDay(begun_ns=begun_ns) if trade_date(begun_ns) == today:
                    self._timetable = compressed_day(self._rules, step.request, self._seed)
                case TimedHalt(begun_ns=begun_ns) if trade_date(begun_ns) == today:
                    self._halt(step.request)
                case Flex(at_ns=at_ns) if trade_date(at_ns) == today:
                    self._set(self._bands.flex(step.request))
        for session_class, phase in self.venue.sessions.items():
            if trade_date(phase.since_ns) != today:
                self.venue.sessions[session_class] = opening[session_class]
        self._day.resume()
        recovery.rest(self.venue)

    def open(self, steps: list[JournalStep], now_ns: int) -> JournalStep:
        """First orders of the participants; orders of an earlier day end before."""
        times = [
            told.report.transact_time_ns
            for step in steps
            for told in step.told
            if isinstance(told.report, ExecutionReport)
        ]
        over = bool(times) and trade_date(times[-1]) != trade_date(now_ns)
        told = self.venue.expire_day(now_ns) if over else []
        self.touched.update(self.venue.books)
        return JournalStep(NOBODY, None, told + self.participants.open(now_ns))

    def announced(self) -> list[Announcement]:
        """Where each class stands, and each band that has moved."""
        return [*self.venue.sessions.values(), *self._bands.told.values()]

    def _begin(self, now_ns: int) -> Timetable:
        """The calendar's day, which begins closed; without hours, an open market and nothing to come."""
        day = trade_date(now_ns)
        phase = MarketPhase.CLOSED if self._follow_calendar else MarketPhase.CONTINUOUS
        for c, session in self.venue.sessions.items():
            if not session.since_ns:
                self.venue.sessions[c] = self.venue.session(c, phase, 1 if self._follow_calendar else now_ns)
        self._day.resume()
        return calendar_day(self._rules, day, self._seed) if self._follow_calendar else Timetable(day, ())

    def _enter(
        self, session_class: SessionClass, phase: MarketPhase, since_ns: int, now_ns: int, average_ns: int
    ) -> JournalStep:
        self.touched.update(self._day.symbols(session_class))
        scheduled_ns = self._timetable.scheduled(since_ns)
        return self._day.enter(session_class, phase, since_ns, now_ns, average_ns, scheduled_ns)

    def _halt(self, halt: TimedHalt) -> None:
        """Whatever trades, or is about to, stops."""
        trading = [c for c, s in self.venue.sessions.items() if s.phase in TRADING]
        self._timetable = halted(self._timetable, halt, trading)

    def _flex(self, move: Flex) -> JournalStep:
        """Announce the band, then cancel what it leaves outside; a stop is looked at when it triggers."""
        if not self._bands.flexes(move.symbol):
            raise ControlRefused(f"{move.symbol} has no band that flexes")
        told = self._bands.flex(move)
        self._set(told)
        self.touched.add(move.symbol)
        left_out = self._day.bar(move.symbol, PriceLimits(told.low, told.high), move.at_ns)
        return JournalStep(NOBODY, move, [Addressed(EVERY_SESSION, told), *left_out])

    def _set(self, band: BandSet) -> None:
        self.venue.bands[band.symbol] = band.low, band.high

    def _play(self, phase_ns: int, now_ns: int) -> JournalStep:
        """Begin a compressed day by the rules of the next trading day."""
        day = self._rules.calendar.next_trading_day(trade_date(now_ns))
        if day is None:
            raise ControlRefused("the calendar ends before the next trading day")
        compressed = CompressedDay(day, now_ns, phase_ns)
        self._timetable = compressed_day(self._rules, compressed, self._seed)
        return JournalStep(NOBODY, compressed, [])

    def _replay(self, command: Command, now_ns: int) -> list[Addressed]:
        match command:
            case FlowCommand(symbol, events):
                flow = self._flow(symbol)
                self.touched.add(symbol)
                return [told for event in events for told in flow.apply(event, now_ns)] if flow else []
            case EndFlowCommand(symbol):
                if flow := self.flows.pop(symbol, None):
                    flow.end()
                self.participants.withdrawn.discard(symbol)
                self.touched.add(symbol)
                return self.participants.act(symbol, now_ns)
            case PricesCommand(rows):
                return [told for row in rows for told in self._price(*row, now_ns)]
            case _:
                return []

    def _flow(self, symbol: str) -> Flow | None:
        """The symbol's running flow, begun if need be; None for a symbol that is not traded here."""
        if symbol not in self.flows and symbol in self.participants.symbols:
            self.participants.withdraw(symbol)
            self.participants.withdrawn.add(symbol)
            self.flows[symbol] = Flow(self.venue, self.venue.instruments[symbol])
        return self.flows.get(symbol)

    def _price(self, symbol: str, price: int, quantity: int, now_ns: int) -> list[Addressed]:
        """A recorded price: the participants quote one tick around it and it goes on the tape."""
        if self.venue.phase_of(symbol) is not MarketPhase.CONTINUOUS:
            return []
        self.touched.add(symbol)
        told = self.participants.quote_around(symbol, price, now_ns)
        told += self.venue.print_trade(symbol, price, now_ns)
        self._traded(symbol, happened.Traded(price, quantity, 0, 0, 0, 0))
        return told

    def _traded(self, symbol: str, trade: happened.Traded) -> None:
        self._averages.add(symbol, trade.price, trade.quantity, self._now_ns)
        self.touched.add(symbol)
        self._on_trade(symbol, trade)
