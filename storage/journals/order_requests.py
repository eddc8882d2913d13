"""What a client asks of the intake and what it is answered. Called by the API, the intake and the house."""

from dataclasses import dataclass
from uuid import UUID

from domain.orders import OrderTerms
from domain.rejects import Refusal

CLIENT = "client"


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What a client asked, its shape already checked."""

    user_id: int
    key: UUID
    body_hash: bytes
    """Of the terms: the same key with another body is a conflict."""
    terms: OrderTerms
    received_at_ns: int
    tag: str | None = None
    client_ip: str | None = None
    device: str | None = None
    traceparent: str = ""
    actor: str = CLIENT
    """Who places it, for the record: the client, or who acts for the house."""
    parent_id: int | None = None
    """Of a slice (storage/orders/slices.py)."""


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The 202. A replayed one is the first answer again, its time included."""

    order_id: int
    accepted_at_ns: int
    replayed: bool
    children: tuple[int, ...] = ()
    """The slices of a sliced order, ascending."""


class IdempotencyConflict(Exception):
    """The key was used before, with another body."""

    def __init__(self, order_id: int) -> None:
        super().__init__(f"the key belongs to order {order_id}, which was asked for with another body")
        self.order_id = order_id


class OrdersRefused(Exception):
    """The account may not have more orders; the key is free again."""

    def __init__(self, refusal: Refusal) -> None:
        super().__init__(refusal.sentence)
        self.refusal = refusal
