"""FIX field values as text and back: prices, quantities, times and the code words both versions share.

Every reader refuses what it cannot read exactly, naming the tag; nothing is rounded and no float is made.
Called by exchange/fix/codec.py and its families of messages.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import TypeVar

from domain.money import paise, rupees
from domain.orders import OrderType, Side, Validity
from domain.reports import OrdStatus
from domain.time import NANOS

SIDE = {Side.BUY: "1", Side.SELL: "2"}
ORDER_TYPE = {OrderType.MARKET: "1", OrderType.LIMIT: "2", OrderType.SL_M: "3", OrderType.SL: "4"}
TIME_IN_FORCE = {Validity.DAY: "0", Validity.IOC: "3"}
_SIDE_OF = {word: side for side, word in SIDE.items()}
_ORDER_TYPE_OF = {word: order_type for order_type, word in ORDER_TYPE.items()}
_VALIDITY_OF = {word: validity for validity, word in TIME_IN_FORCE.items()}

_QUANTITY = re.compile(r"(\d{1,10})(?:\.0*)?")
_INTEGER = re.compile(r"-?\d{1,9}")
_PRICE = re.compile(r"\d{1,13}(?:\.\d*)?")
_TIME = re.compile(r"(\d{8}-\d{2}:\d{2}:\d{2})(?:\.(\d{1,9}))?")

Word = TypeVar("Word", bound=StrEnum)


Fields = Iterator[tuple[int, str]]
"""Tag and text, in the order of the wire."""


class FixVersion(StrEnum):
    FIX42 = "FIX.4.2"
    FIX50SP2 = "FIX.5.0SP2"


class CodecError(Exception):
    """A field could not be read or written; `tag` is None when the message as a whole is at fault."""

    def __init__(self, tag: int | None, reason: str) -> None:
        super().__init__(f"tag {tag}: {reason}" if tag is not None else reason)
        self.tag = tag
        self.reason = reason


def price_text(amount: int) -> str:
    return rupees(amount)


def price_field(tag: int, amount: int | None) -> Iterator[tuple[int, str]]:
    if amount is not None:
        yield tag, rupees(amount)


def text_field(tag: int, text: str | None) -> Iterator[tuple[int, str]]:
    """A text is kept to what a FIX field can hold: no control characters, never empty."""
    if text is not None:
        printable = "".join(c if c.isprintable() and c.isascii() else "?" for c in text)
        if printable:
            yield tag, printable


def time_in_force(validity: Validity) -> str:
    """Raises CodecError for GTT: its trigger is watched by us, and what is sent is a DAY order."""
    if validity not in TIME_IN_FORCE:
        raise CodecError(59, f"{validity} is not an exchange validity")
    return TIME_IN_FORCE[validity]


def time(time_ns: int, version: FixVersion) -> str:
    """UTCTimestamp with 3 decimals in FIX 4.2 and 9 in 5.0 SP2; what the wire cannot carry is cut off."""
    digits = 3 if version is FixVersion.FIX42 else 9
    seconds, nanos = divmod(time_ns, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y%m%d-%H:%M:%S}.{f'{nanos:09d}'[:digits]}"


@dataclass(frozen=True, slots=True)
class FieldReader:
    """One message's fields by tag; every method raises CodecError for its tag."""

    fields: dict[int, str]

    def text(self, tag: int) -> str:
        value = self.fields.get(tag)
        if not value:
            raise CodecError(tag, "is missing")
        return value

    def optional_text(self, tag: int) -> str | None:
        return self.fields.get(tag) or None

    def quantity(self, tag: int) -> int:
        """A whole number of shares or units; "100.00" is whole too."""
        match = _QUANTITY.fullmatch(self._ascii(tag))
        if match is None:
            raise CodecError(tag, f"{self.text(tag)[:20]!r} is not a whole quantity")
        return int(match[1])

    def optional_integer(self, tag: int) -> int | None:
        if tag not in self.fields:
            return None
        value = self._ascii(tag)
        if _INTEGER.fullmatch(value) is None:
            raise CodecError(tag, f"{value[:20]!r} is not an integer")
        return int(value)

    def price(self, tag: int) -> int:
        """Paise. More decimals than two are fine when they are zeros."""
        value = self._ascii(tag)
        if _PRICE.fullmatch(value) is None:
            raise CodecError(tag, f"{value[:20]!r} is not a price")
        try:
            return paise(value.rstrip("."))
        except ValueError as error:
            raise CodecError(tag, str(error)) from error

    def optional_price(self, tag: int) -> int | None:
        return self.price(tag) if tag in self.fields else None

    def time(self, tag: int) -> int:
        """Nanoseconds since the epoch, of a UTCTimestamp with none to nine decimals."""
        value = self._ascii(tag)
        match = _TIME.fullmatch(value)
        if match is None:
            raise CodecError(tag, f"{value[:32]!r} is not a UTC timestamp")
        try:
            instant = datetime.strptime(match[1], "%Y%m%d-%H:%M:%S").replace(tzinfo=UTC)
        except ValueError as error:
            raise CodecError(tag, f"{value[:32]!r} is not a time of the calendar") from error
        return int(instant.timestamp()) * NANOS + int((match[2] or "").ljust(9, "0"))

    def word(self, tag: int, words: type[Word]) -> Word:
        value = self.text(tag)
        try:
            return words(value)
        except ValueError as error:
            raise CodecError(tag, f"{value[:20]!r} is not a {words.__name__}") from error

    def ord_status(self) -> OrdStatus:
        return self.word(39, OrdStatus)

    def side(self) -> Side:
        return self._one_of(54, _SIDE_OF)

    def order_type(self) -> OrderType:
        return self._one_of(40, _ORDER_TYPE_OF)

    def validity(self) -> Validity:
        """DAY where TimeInForce is absent, as FIX says."""
        return self._one_of(59, _VALIDITY_OF) if 59 in self.fields else Validity.DAY

    def _one_of(self, tag: int, words: dict[str, Word]) -> Word:
        value = self.text(tag)
        if value not in words:
            raise CodecError(tag, f"{value[:20]!r} is not spoken here")
        return words[value]

    def _ascii(self, tag: int) -> str:
        value = self.text(tag)
        if not value.isascii():
            raise CodecError(tag, "is not ASCII")
        return value
