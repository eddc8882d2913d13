"""How lively the simulated market is: who acts next, a liquid instrument ten times as often as another.

Liquid are the front futures and what they stand on, indices included. Counted in beats, never by the clock:
a seed gives the same market again. Called by floor.py.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import cycle, islice

from domain.instruments import Instrument
from domain.sessions import SessionClass

BEATS_A_SECOND = 20
OTHERS_SHARE = 10


class Pace:
    """`pace` is how often a liquid instrument moves in a second; 0 leaves the market to brokers."""

    def __init__(
        self, instruments: Mapping[str, Instrument], classes: Mapping[str, SessionClass], pace: float
    ) -> None:
        liquid = _liquid(instruments, classes)
        others = [symbol for symbol in instruments if symbol not in liquid]
        self._turns = [_Turns(sorted(liquid), pace), _Turns(others, pace / OTHERS_SHARE)]

    def beat(self) -> list[str]:
        """Symbols whose turn it is, each at most once."""
        return [symbol for turns in self._turns for symbol in turns.beat()]


class _Turns:
    """A round robin."""

    def __init__(self, symbols: Sequence[str], pace: float) -> None:
        self._round: Iterator[str] = cycle(symbols)
        self._a_beat = min(len(symbols) * pace / BEATS_A_SECOND, float(len(symbols)))
        self._due = 0.0

    def beat(self) -> list[str]:
        self._due += self._a_beat
        whole = int(self._due)
        self._due -= whole
        return list(islice(self._round, whole))


def _liquid(instruments: Mapping[str, Instrument], classes: Mapping[str, SessionClass]) -> set[str]:
    front = [symbol for symbol in instruments if classes[symbol] is SessionClass.FRONT_FUTURE]
    symbol_of = {row.instrument_id: symbol for symbol, row in instruments.items()}
    under = (symbol_of.get(instruments[symbol].underlying or "") for symbol in front)
    return {*front, *(symbol for symbol in under if symbol is not None)}
