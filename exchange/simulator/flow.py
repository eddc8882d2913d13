"""Replayed history as living people: recorded order flow and recorded prices enter a running venue.

Recorded prices are shifted, not copied: flow by whole ticks from its first price to the instrument's
previous close, prices in proportion, so both sit in the band; what falls outside is skipped and counted.
An execution is an incoming order of its size at its price, so a broker's order that ranks first gets it.
While an instrument's flow runs, the participants leave its book. Called by market.py.
"""

from collections import Counter

import msgspec

from domain.instruments import Instrument
from domain.orders import OrderType, Side, Validity
from exchange.simulator.history import MessageKind
from exchange.simulator.matching.ladder import Order
from exchange.simulator.venue import Addressed, Venue

FLOW_IDS = -(10**15)
"""Order ids of replayed flow lie below this, out of the participants' way."""


class FlowEvent(msgspec.Struct, array_like=True, frozen=True):
    """A recorded message; `ticks` is its price's distance from the flow's first price."""

    kind: MessageKind
    order_id: int
    size: int
    ticks: int
    side: Side


class Flow:
    """One instrument's replayed order flow. A recorded share is one lot."""

    def __init__(self, venue: Venue, instrument: Instrument) -> None:
        self._venue, self._instrument = venue, instrument
        self._book = venue.books[instrument.symbol]
        self._aggressors = FLOW_IDS * 2
        self.outcomes: Counter[str] = Counter()

    def apply(self, event: FlowEvent, now_ns: int) -> list[Addressed]:
        """Let one event happen; returns what it meant to brokers' orders."""
        instrument = self._instrument
        tick = instrument.tick_size
        price = (instrument.previous_close // tick + event.ticks) * tick
        if not instrument.lower_band <= price <= instrument.upper_band:
            self.outcomes["out of band"] += 1
            return []
        order_id, quantity = FLOW_IDS - event.order_id, event.size * instrument.lot_size
        match event.kind:
            case MessageKind.NEW:
                self.outcomes["entered"] += 1
                return self._enter(order_id, event.side, quantity, price, Validity.DAY, now_ns)
            case MessageKind.EXECUTION:
                side = Side.SELL if event.side is Side.BUY else Side.BUY
                self._aggressors -= 1
                before = self._book.ladder(event.side).best()
                self.outcomes["executed" if before else "executed, nothing rested"] += 1
                return self._enter(self._aggressors, side, quantity, price, Validity.IOC, now_ns)
            case MessageKind.HIDDEN_EXECUTION:
                self.outcomes["hidden execution"] += 1
                return self._venue.print_trade(instrument.symbol, price, now_ns)
            case _:
                taken = self._book.reduce(order_id, quantity)
                self.outcomes["cancelled" if taken else "cancelled, not in the book"] += 1
                return []

    def end(self) -> None:
        """Take what the flow left resting out of the book."""
        for order_id in [i for i in self._book.orders if i <= FLOW_IDS]:
            self._book.cancel(order_id)

    def _enter(
        self, order_id: int, side: Side, quantity: int, price: int, validity: Validity, now_ns: int
    ) -> list[Addressed]:
        order = Order(order_id, side, OrderType.LIMIT, validity, quantity, price)
        return self._venue.participate(self._instrument.symbol, order, now_ns)
