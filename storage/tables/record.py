"""The record."""

from typing import Any

from sqlalchemy import BigInteger, Identity, Index, String, Text
from sqlalchemy.dialects.postgresql import INET, JSONB

from domain.orders import OrderStatus
from storage.tables.base import ORDER_STATUS, XID8, Row, column


class AuditRow(Row, table=True):
    """An entry of the record; append only, partitioned by day.

    An entry with an order is also a line of the order's history and an `order_update` of its user's stream,
    numbered by `user_seq`.
    """

    __tablename__ = "audit_log"
    __table_args__ = (
        Index("audit_log_of_user", "user_id", "user_seq"),
        Index("audit_log_of_order", "order_id", "audit_id"),
        {"postgresql_partition_by": "RANGE (occurred_at_ns)"},
    )

    audit_id: int = column(BigInteger, Identity(always=True), primary_key=True)
    occurred_at_ns: int = column(BigInteger, primary_key=True)
    user_id: int = column(BigInteger)
    user_seq: int | None = column(BigInteger, nullable=True)
    order_id: int | None = column(BigInteger, nullable=True)
    event: str = column(String(40))
    status: OrderStatus | None = column(ORDER_STATUS, nullable=True)
    detail: dict[str, Any] = column(JSONB)
    actor: str = column(String(60))
    client_ip: str | None = column(INET, nullable=True)
    device: str | None = column(Text, nullable=True)
    traceparent: str = column(String(55), default="''")
    transaction_id: int = column(
        XID8,
        default="pg_current_xact_id()",
        comment=("rows below the snapshot horizon are complete and may be sealed into the hash chain"),
    )
