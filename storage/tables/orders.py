"""Orders, their slices' parents, and the keys and counters beside them."""

from uuid import UUID

from sqlalchemy import BigInteger, Index, Integer, LargeBinary, String, Text, UniqueConstraint, Uuid, text

from domain.orders import OrderStatus, OrderType, Product, Side, Validity
from storage.tables.base import ORDER_STATUS, ORDER_TYPE, PRODUCT, SIDE, VALIDITY, Row, column


class OrderRow(Row, table=True):
    """An order; partitioned by day, because an `order_id` is YYMMDD and nine digits.

    Prices in paise, quantities in units of the instrument, `filled_value` the sum of price times quantity,
    `market_protection` in basis points from the last price (NULL: the broker's default). `changes` counts
    accepted change requests; the exchange counts them too.
    """

    __tablename__ = "orders"
    __table_args__ = (
        Index(
            "orders_in_hand",
            "owner",
            postgresql_where=text("status = 'PENDING_VALIDATION' AND owner IS NOT NULL"),
        ),
        Index(
            "orders_live",
            "user_id",
            text("order_id DESC"),
            postgresql_where=text(
                "status IN ('PENDING_VALIDATION', 'PENDING_OPEN', 'OPEN', 'TRIGGER_PENDING', "
                "'PARTIALLY_FILLED')"
            ),
        ),
        Index("orders_of_user", "user_id", text("order_id DESC")),
        Index("orders_of_instrument", "instrument_id", "status"),
        Index("orders_of_parent", "parent_id", postgresql_where=text("parent_id IS NOT NULL")),
        {"postgresql_partition_by": "RANGE (order_id)"},
    )

    order_id: int = column(BigInteger, primary_key=True)
    user_id: int = column(BigInteger, references="users.user_id")
    instrument_id: str = column(String(30))
    order_type: OrderType = column(ORDER_TYPE)
    transaction_type: Side = column(SIDE)
    product: Product = column(PRODUCT)
    validity: Validity = column(VALIDITY)
    quantity: int = column(Integer, check="quantity > 0")
    price: int | None = column(BigInteger, check="price > 0", nullable=True)
    trigger_price: int | None = column(BigInteger, check="trigger_price > 0", nullable=True)
    status: OrderStatus = column(ORDER_STATUS, default="'PENDING_VALIDATION'")
    filled_quantity: int = column(Integer, check="filled_quantity >= 0", default="0")
    filled_value: int = column(BigInteger, check="filled_value >= 0", default="0")
    exchange_order_id: str | None = column(String(30), nullable=True)
    reject_code: str | None = column(String(60), nullable=True)
    reject_reason: str | None = column(Text, nullable=True)
    tag: str | None = column(String(20), nullable=True)
    idempotency_key: UUID = column(Uuid)
    traceparent: str = column(String(55), default="''")
    owner: str | None = column(
        String(60), nullable=True, comment="order worker that claimed it; reports go back to it first"
    )
    created_at_ns: int = column(BigInteger)
    updated_at_ns: int = column(BigInteger)
    market_protection: int | None = column(
        Integer, check="market_protection BETWEEN 1 AND 10000", nullable=True
    )
    changes: int = column(Integer, default="0")
    parent_id: int | None = column(BigInteger, references="sliced_orders.order_id", nullable=True)
    taken_back_quantity: int = column(
        Integer,
        check="taken_back_quantity >= 0",
        default="0",
        comment="traded and taken back since: it does not return to the market",
    )


class SlicedOrderRow(Row, table=True):
    """A parent order above the freeze quantity; its slices are orders like any other."""

    __tablename__ = "sliced_orders"
    __table_args__ = (UniqueConstraint("user_id", "idempotency_key"),)

    order_id: int = column(BigInteger, primary_key=True)
    user_id: int = column(BigInteger, references="users.user_id")
    quantity: int = column(Integer, check="quantity > 0")
    tag: str | None = column(String(20), nullable=True)
    idempotency_key: UUID = column(Uuid)
    created_at_ns: int = column(BigInteger)


class IdempotencyKeyRow(Row, table=True):
    """The order that a client's idempotency key placed, and the hash of its body (SHA-256)."""

    __tablename__ = "idempotency_keys"

    user_id: int = column(BigInteger, primary_key=True)
    key: UUID = column(Uuid, primary_key=True)
    order_id: int = column(BigInteger)
    body_hash: bytes = column(LargeBinary)
    created_at_ns: int = column(BigInteger)


class ChangeRequestRow(Row, table=True):
    """A counter of the requests to change or cancel one order.

    It is a table beside `orders`, so that a flood of requests never locks an order.
    """

    __tablename__ = "change_requests"
    __table_args__ = ({"postgresql_with": {"fillfactor": 50}},)

    order_id: int = column(BigInteger, primary_key=True)
    requests: int = column(
        Integer,
        check="requests > 0",
        comment=("that its workflow was asked for; numbers the next one (ClOrdID <order_id>-<n>)"),
    )
    second: int = column(BigInteger)
    in_second: int = column(Integer, comment="of these, in the second (since the epoch, UTC) of the last one")


class HouseOrderRow(Row, table=True):
    """An order that the broker placed for a client, once for each purpose.

    The database makes the idempotency key at random, so no client can use it first, nor pass an order of
    his own for one of the broker's.
    """

    __tablename__ = "house_orders"
    __table_args__ = (UniqueConstraint("user_id", "key"),)

    purpose: str = column(
        String(160),
        primary_key=True,
        comment=("what the order is for: square-off:2026-11-24:CASH:<user>:NSE:TCS|MIS:1"),
    )
    user_id: int = column(BigInteger, references="users.user_id")
    key: UUID = column(Uuid, default="gen_random_uuid()")
    actor: str = column(String(60))
    created_at_ns: int = column(BigInteger)
