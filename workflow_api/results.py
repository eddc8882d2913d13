"""What a step answers: a record that explains itself to whoever reads the workflow's history."""

import time
from dataclasses import dataclass, field
from typing import Self

from domain.exchange_terms import Admission, ExchangeTerms
from domain.margin import Block
from domain.orders import OrderStatus
from domain.rejects import Refusal

PASSED, REFUSED, STALE = "PASSED", "REFUSED", "STALE"


@dataclass(frozen=True, slots=True)
class Decision:
    """`sentence` first: a support person reads it in the Temporal UI. A refusal is a value, not an error."""

    sentence: str
    decision: str
    """PASSED, REFUSED, or STALE: the margin view was rebuilt since the block; block again."""
    time_ns: int
    reject_code: str | None = None
    reject_reason: str | None = None
    entry: Admission | None = None
    """Of the validation: when the order may enter the market."""
    block: Block | None = None
    departure: ExchangeTerms | None = None
    """Of the margin block: as what the order leaves."""
    refusal: Refusal | None = None
    """Whole, as a client is told it; earlier versions answered code and reason alone."""

    @classmethod
    def refused(cls, refusal: Refusal, reason: str | None = None) -> Self:
        """`reason`: more than the refusal's own sentence."""
        said = reason or refusal.sentence
        return cls(said, REFUSED, time.time_ns(), refusal.code, said, refusal=refusal)


@dataclass(frozen=True, slots=True)
class RefusedResult:
    """What became of a refusal."""

    sentence: str
    stands: bool
    """False: an earlier run had submitted the order, so it goes on whatever a later run thinks."""
    status: str = OrderStatus.REJECTED
    """As the order stands: CANCELLED, where a cancel came before the refusal."""


@dataclass(frozen=True, slots=True)
class BookedResult:
    """Where the order stands after its reports were booked."""

    sentence: str
    status: str
    final: bool
    filled_quantity: int
    exchange_order_id: str | None
    reject_code: str | None
    time_ns: int
    fills: list[str] = field(default_factory=list)
