"""What it means to enter a phase: auctions, the prices that close a day, what is cancelled and what expires.

Invariant: everything a change brings about is one step, so that a killed exchange has done all of it or
nothing. Every symbol of a class changes together. Source: market-rules section 1. Called by floor.py.
"""

from domain.instruments import InstrumentKind
from domain.orders import Side
from domain.price_bands import PriceLimits, is_cancelled_by_band
from domain.reports import MarketPhase
from domain.sessions import SessionClass
from exchange.simulator.journal import JournalStep
from exchange.simulator.matching.auction import equilibrium
from exchange.simulator.participants import Participants
from exchange.simulator.session.averages import Averages
from exchange.simulator.session.timetable import TRADING
from exchange.simulator.venue import EVERY_SESSION, Addressed, Venue

CANCELLED_STOP = "CLOSING_AUCTION: a stop that was not triggered does not take part"
CANCELLED_OUT_OF_BAND = "CLOSING_AUCTION: the price is outside the auction's band"
CANCELLED_BY_BAND = "PRICE_BAND: the band has moved and left the price outside"
_MATCHED = frozenset({MarketPhase.CONTINUOUS, MarketPhase.POST_CLOSE})
"""Phases in which an order meets the book at once; in all others orders gather, if they enter at all."""


class SimulatedDay:
    def __init__(self, venue: Venue, participants: Participants, averages: Averages) -> None:
        self._venue, self._participants, self._averages = venue, participants, averages

    def enter(
        self,
        session_class: SessionClass,
        phase: MarketPhase,
        since_ns: int,
        now_ns: int,
        average_since_ns: int,
        scheduled_ns: int | None = None,
    ) -> JournalStep:
        """Enter a phase; the first thing told is the phase itself."""
        before = self._venue.sessions[session_class].phase
        announced = self._venue.session(session_class, phase, since_ns, scheduled_ns)
        self._venue.sessions[session_class] = announced
        known, told = dict(self._venue.prices), [Addressed(EVERY_SESSION, announced)]
        for symbol in self.symbols(session_class):
            self._venue.books[symbol].calling = phase not in _MATCHED
            if before in TRADING and phase not in TRADING:
                self._venue.prices[symbol] = self._average(symbol, average_since_ns)
            told += self._enter(symbol, phase, now_ns)
        fixed = {s: p for s, p in self._venue.prices.items() if known.get(s) != p}
        return JournalStep("", None, told, fixed)

    def resume(self) -> None:
        """Set every book to its class's phase as it stands: after a restart."""
        for symbol, book in self._venue.books.items():
            book.calling = self._venue.phase_of(symbol) not in _MATCHED

    def symbols(self, session_class: SessionClass) -> list[str]:
        """Of every tradable instrument of a class."""
        rows, classes = self._venue.instruments, self._venue.classes
        return [
            s for s, c in classes.items() if c is session_class and rows[s].kind is not InstrumentKind.INDEX
        ]

    def _enter(self, symbol: str, phase: MarketPhase, now_ns: int) -> list[Addressed]:
        book = self._venue.books[symbol]
        match phase:
            case MarketPhase.CONTINUOUS:
                told = self._auction(symbol, book.last_price, now_ns)
                # Stops that the auction's price has reached are triggered.
                return told + self._venue.print_trade(symbol, book.last_price, now_ns)
            case MarketPhase.PRE_OPEN_MATCHING:
                return self._auction(symbol, book.last_price, now_ns)
            case MarketPhase.CLOSING_MATCHING:
                return self._auction(symbol, self._venue.prices.get(symbol, book.last_price), now_ns)
            case MarketPhase.CLOSING_REFERENCE:
                return self._bar(symbol, now_ns)
            case MarketPhase.CLOSED:
                return self._clear(symbol, now_ns)
            case MarketPhase.HALTED:
                self._participants.withdraw(symbol)
                return []
            case _:
                return self._participants.act(symbol, now_ns)

    def _auction(self, symbol: str, reference: int, now_ns: int) -> list[Addressed]:
        """Trade at the equilibrium price; what was left without a price gets that one, or the reference."""
        book = self._venue.books[symbol]
        bids, asks = book.depth(max(len(book.bids.keys), len(book.asks.keys)))
        buys, sells = (sum(order.leaves for order in book.unpriced[side].values()) for side in Side)
        found = equilibrium(bids, asks, buys, sells, reference)
        events = book.uncross(found.price) if found else []
        price = found.price if found else reference
        if found:
            self._venue.prices[symbol] = price
        return self._venue.tell(symbol, events + book.price_left_over(price), now_ns)

    def _average(self, symbol: str, since_ns: int) -> int:
        """The average since then, else the last trade's price, which begins as the previous close."""
        tick = self._venue.instruments[symbol].tick_size
        return self._averages.since(symbol, since_ns, tick) or self._venue.books[symbol].last_price

    def _bar(self, symbol: str, now_ns: int) -> list[Addressed]:
        """What may not take part in the closing auction leaves the book."""
        waiting = self._venue.books[symbol].stops.waiting
        limits = PriceLimits(*self._venue.band_of(symbol))
        told = self.bar(symbol, limits, now_ns, CANCELLED_OUT_OF_BAND)
        for order_id in [i for i in self._venue.books[symbol].orders if i in waiting]:
            told += self._take_out(symbol, order_id, CANCELLED_STOP, now_ns)
        return told

    def bar(
        self, symbol: str, limits: PriceLimits, now_ns: int, text: str = CANCELLED_BY_BAND
    ) -> list[Addressed]:
        """Priced orders outside the band leave the book; a stop is looked at only when it triggers."""
        book, told = self._venue.books[symbol], list[Addressed]()
        for order in list(book.orders.values()):
            waits = order.order_id in book.stops.waiting
            if order.price and is_cancelled_by_band(order.price, limits, waits_for_trigger=waits):
                told += self._take_out(symbol, order.order_id, text, now_ns)
        return told

    def _take_out(self, symbol: str, order_id: int, text: str, now_ns: int) -> list[Addressed]:
        return self._venue.tell(symbol, self._venue.books[symbol].cancel(order_id), now_ns, text)

    def _clear(self, symbol: str, now_ns: int) -> list[Addressed]:
        """The day's orders expire; the book is empty."""
        self._participants.withdraw(symbol)
        book = self._venue.books[symbol]
        return [
            told
            for order_id in list(book.orders)
            for told in self._venue.tell(symbol, book.expire(order_id), now_ns)
        ]
