"""The other people in the market: quotes around a moving price, and now and then a trade.

Deterministic: the seed and the instrument decide every step. The price walks tick by tick, drawn back to
the previous close, so it stays within a few per cent and an order well away from it rests. Quotes are
orders like any other: they trade with brokers' orders by price and time. In a call auction they want a
little more than they will get, after the close both sides come at the closing price. Called by floor.py.
"""

from collections.abc import Iterator, KeysView
from itertools import count
from random import Random

from domain.instruments import Instrument, InstrumentKind
from domain.orders import OrderType, Side, Validity
from domain.reports import MarketPhase
from exchange.simulator.matching.events import Traded
from exchange.simulator.matching.ladder import Order
from exchange.simulator.venue import Addressed, Venue

LEVELS = 5
LEVEL_VALUE = 10**8
"""Paise offered at a level, roughly."""
FREEZES = 3
"""So many of a derivative's largest orders stand on a side, half of it when people hold back."""
INDEX_STEP = 20
"""Ticks by which an index moves at once."""
OVERLAP = 3
"""Ticks by which bids and asks of an auction overlap."""
REACH = 200
"""The price stays within 1/REACH of the previous close."""
TRADE_CHANCE = 0.3
CALLS = frozenset(
    {
        MarketPhase.PRE_OPEN_ENTRY,
        MarketPhase.PRE_OPEN_LIMIT,
        MarketPhase.CLOSING_AUCTION,
        MarketPhase.CLOSING_AUCTION_LIMIT,
    }
)


class Participants:
    """Quotes every tradable instrument of a venue in turn."""

    def __init__(self, venue: Venue, seed: int) -> None:
        self._venue = venue
        self._ids = count(-1, -1)
        tradable = [
            i for i in venue.instruments.values() if i.tradable and i.kind is not InstrumentKind.INDEX
        ]
        self._desks = {row.symbol: _Desk(row, Random(f"{seed}:{row.instrument_id}")) for row in tradable}
        indices = [i for i in venue.instruments.values() if i.kind is InstrumentKind.INDEX]
        self._indices = {row.symbol: _Desk(row, Random(f"{seed}:{row.instrument_id}")) for row in indices}
        self.withdrawn: set[str] = set()
        """Symbols left to replayed flow."""

    def open(self, now_ns: int) -> list[Addressed]:
        """First quotes everywhere."""
        return [told for symbol in self._desks for told in self.act(symbol, now_ns)]

    def act(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Whatever the phase has people do in an instrument."""
        match self._venue.phase_of(symbol):
            case MarketPhase.CONTINUOUS if symbol in self._indices:
                self.drift(symbol)
                return []
            case MarketPhase.CONTINUOUS:
                return self.refresh(symbol, now_ns)
            case phase if phase in CALLS:
                return self.gather(symbol, now_ns)
            case MarketPhase.POST_CLOSE:
                return self.trade_at_close(symbol, now_ns)
            case _:
                return []

    @property
    def symbols(self) -> KeysView[str]:
        """Of every quoted instrument."""
        return self._desks.keys()

    def drift(self, symbol: str) -> None:
        """Move an index: it has no book, its value goes on the tape."""
        desk = self._indices[symbol]
        desk.move(INDEX_STEP)
        if self._venue.on_trade is not None:
            self._venue.on_trade(symbol, Traded(desk.price, 0, 0, 0, 0, 0))

    def refresh(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Move the price, requote, perhaps trade; returns what that did to brokers' orders."""
        desk, book = self._desks.get(symbol), self._venue.books.get(symbol)
        if desk is None or book is None or symbol in self.withdrawn:
            return []
        desk.move()
        told = self._requote(symbol, desk, now_ns)
        if desk.random.random() < TRADE_CHANCE:
            side, quantity = desk.random.choice(list(Side)), desk.lots(20)
            order = Order(next(self._ids), side, OrderType.MARKET, Validity.IOC, quantity)
            told += self._venue.participate(symbol, order, now_ns)
        return told

    def gather(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Overlapping orders for the auction, in place of the quotes."""
        desk = self._desks.get(symbol)
        if desk is None or symbol in self.withdrawn:
            return []
        desk.move()
        return self._requote(symbol, desk, now_ns, OVERLAP)

    def trade_at_close(self, symbol: str, now_ns: int) -> list[Addressed]:
        """Buy and sell once at the closing price; nothing of it rests."""
        desk, price = self._desks.get(symbol), self._venue.prices.get(symbol)
        if desk is None or price is None or symbol in self.withdrawn:
            return []
        told: list[Addressed] = []
        for side in Side:
            terms = (side, OrderType.LIMIT, Validity.IOC, desk.lots(20), price)
            told += self._venue.participate(symbol, Order(next(self._ids), *terms), now_ns)
        return told

    def quote_around(self, symbol: str, price: int, now_ns: int) -> list[Addressed]:
        """Quote one tick to either side of a price that is given; an index goes on from it."""
        if symbol in self._indices:
            self._indices[symbol].set_price(price)
        desk = self._desks.get(symbol)
        if desk is None or symbol in self.withdrawn:
            return []
        desk.set_price(price)
        return self._requote(symbol, desk, now_ns)

    def withdraw(self, symbol: str) -> None:
        """Take every quote out of an instrument's book."""
        desk, book = self._desks.get(symbol), self._venue.books[symbol]
        if desk is None:
            return
        for order_id in desk.resting:
            book.cancel(order_id)
        desk.resting.clear()

    def _requote(self, symbol: str, desk: "_Desk", now_ns: int, overlap: int = 0) -> list[Addressed]:
        self.withdraw(symbol)
        told: list[Addressed] = []
        for side, price, quantity in desk.quotes(overlap, self._venue.band_of(symbol)):
            order = Order(next(self._ids), side, OrderType.LIMIT, Validity.DAY, quantity, price)
            desk.resting.append(order.order_id)
            told += self._venue.participate(symbol, order, now_ns)
        return told


class _Desk:
    """One instrument's price and quotes."""

    def __init__(self, instrument: Instrument, random: Random) -> None:
        self.instrument = instrument
        self.random = random
        self.resting: list[int] = []
        self._tick = instrument.tick_size
        self._home = instrument.previous_close // self._tick
        self._mid = self._home

    @property
    def price(self) -> int:
        return self._mid * self._tick

    def move(self, step: int = 1) -> None:
        reach = max(2, self._home // REACH)
        up = 0.5 - 0.5 * (self._mid - self._home) / reach
        self._mid += step if self.random.random() < up else -step

    def set_price(self, price: int) -> None:
        """From here the walk goes on, and here is where it is drawn back to."""
        self._mid = self._home = price // self._tick

    def quotes(self, overlap: int, band: tuple[int, int]) -> Iterator[tuple[Side, int, int]]:
        low, high = band
        for level in range(1, LEVELS + 1):
            for side in Side:
                price = (self._mid - side.sign * (level - overlap)) * self._tick
                if price > 0 and low <= price <= high:
                    yield side, price, self.lots(1)

    def lots(self, fraction: int) -> int:
        """About a level's quantity over `fraction`, in whole lots; a derivative's takes large orders."""
        lot = self.instrument.lot_size
        level = LEVEL_VALUE // max(1, self._mid * self._tick * lot)
        if self.instrument.kind.is_derivative:
            level = max(level, -(-FREEZES * self.instrument.freeze_quantity // (LEVELS * lot)))
        base = level // fraction
        return lot * max(1, base * self.random.randint(50, 150) // 100)
