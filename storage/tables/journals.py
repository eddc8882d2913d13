"""The three journals: the intake of orders, the outbox to the exchange, the inbox of its reports."""

from typing import Any

from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from storage.tables.base import INSTRUCTION_KIND, Row, column


class OrderIntakeRow(Row, table=True):
    """The first journal: an order that a client was acknowledged.

    `seq` is the order of acknowledgement: it is assigned under the user's lock. The exchange gate is passed
    once the order is sent, refused or withdrawn; no later order of the user overtakes one before the gate.
    """

    __tablename__ = "order_intake"
    __table_args__ = (
        UniqueConstraint("order_id"),
        Index(
            "order_intake_before_gate", "user_id", "seq", postgresql_where=text("gate_passed_at_ns IS NULL")
        ),
        Index("order_intake_turns", "turn_ns", "seq", postgresql_where=text("started_at_ns IS NULL")),
    )

    seq: int = column(BigInteger, Identity(always=True), primary_key=True)
    order_id: int = column(BigInteger)
    user_id: int = column(BigInteger)
    accepted_at_ns: int = column(BigInteger)
    claimed_by: str | None = column(String(60), nullable=True)
    claimed_at_ns: int | None = column(BigInteger, nullable=True)
    started_at_ns: int | None = column(BigInteger, nullable=True)
    gate_passed_at_ns: int | None = column(BigInteger, nullable=True)
    turn_ns: int = column(
        BigInteger,
        default="0",
        comment=("when it was acknowledged, or later by a turn than the user's last that waits"),
    )


class ExchangeOutboxRow(Row, table=True):
    """The second journal: an instruction that is due to the exchange.

    `cl_ord_id` is FIX ClOrdID (tag 11), `sends` counts transmissions, `instruction` holds the terms.
    """

    __tablename__ = "exchange_outbox"
    __table_args__ = (
        UniqueConstraint("cl_ord_id"),
        Index("exchange_outbox_of_order", "order_id"),
        Index(
            "exchange_outbox_workflow_due",
            "workflow_due_at_ns",
            postgresql_where=text("workflow_due_at_ns IS NOT NULL"),
        ),
        Index(
            "exchange_outbox_unsent",
            "exchange",
            "intake_seq",
            postgresql_where=text("sent_at_ns IS NULL AND withdrawn_at_ns IS NULL"),
        ),
        Index(
            "exchange_outbox_withdrawn",
            "user_id",
            postgresql_where=text("withdrawn_at_ns IS NOT NULL AND answered_at_ns IS NULL"),
        ),
        Index(
            "exchange_outbox_unanswered",
            "exchange",
            "seq",
            postgresql_where=text("sent_at_ns IS NOT NULL AND answered_at_ns IS NULL"),
        ),
    )

    seq: int = column(BigInteger, Identity(always=True), primary_key=True)
    exchange: str = column(String(4))
    kind: str = column(INSTRUCTION_KIND)
    cl_ord_id: str = column(String(24))
    order_id: int = column(BigInteger)
    user_id: int = column(BigInteger)
    intake_seq: int = column(BigInteger)
    instruction: dict[str, Any] = column(JSONB)
    release_phases: list[str] | None = column(
        ARRAY(Text), nullable=True, comment="market phases that release an armed order; NULL: send at once"
    )
    traceparent: str = column(String(55), default="''")
    created_at_ns: int = column(BigInteger)
    session: str | None = column(String(60), nullable=True)
    claimed_at_ns: int | None = column(
        BigInteger,
        nullable=True,
        comment=("set before the send; claimed and not sent after a crash means: outcome unknown"),
    )
    sent_at_ns: int | None = column(BigInteger, nullable=True)
    sends: int = column(Integer, default="0")
    answered_at_ns: int | None = column(BigInteger, nullable=True)
    withdrawn_at_ns: int | None = column(BigInteger, nullable=True)
    workflow_due_at_ns: int | None = column(BigInteger, nullable=True)
    enlarges: bool = column(
        Boolean, default="true", comment="of a REPLACE: it does more than take away from the order"
    )
    revisions: list[str] = column(
        ARRAY(Text),
        default="'{}'::text[]",
        comment="ClOrdIDs of the changes that were made to this row before it left",
    )


class ExchangeInboxRow(Row, table=True):
    """The third journal: a report from the exchange.

    The pair of `exchange` and `report_id` is unique, so a repeated report is one row. `signalled_at_ns` is
    when the order's workflow was signalled.
    """

    __tablename__ = "exchange_inbox"
    __table_args__ = (
        UniqueConstraint("exchange", "report_id"),
        Index("exchange_inbox_of_order", "order_id", "seq"),
        Index("exchange_inbox_broken", "order_id", postgresql_where=text("broken IS NOT NULL")),
        Index(
            "exchange_inbox_unbooked",
            "user_id",
            "seq",
            postgresql_where=text("booked_at_ns IS NULL AND broken IS NULL"),
        ),
        Index(
            "exchange_inbox_unconsumed",
            "seq",
            postgresql_where=text("consumed_at_ns IS NULL AND broken IS NULL"),
        ),
    )

    seq: int = column(BigInteger, Identity(always=True), primary_key=True)
    exchange: str = column(String(4))
    report_id: str = column(String(60))
    session: str = column(String(60))
    msg_seq_num: int = column(BigInteger)
    order_id: int | None = column(BigInteger, nullable=True)
    owner: str | None = column(String(60), nullable=True)
    report: dict[str, Any] = column(JSONB)
    broken: str | None = column(
        Text, nullable=True, comment="why the report could not be applied (a break: alerted, work goes on)"
    )
    traceparent: str = column(String(55), default="''")
    received_at_ns: int = column(BigInteger)
    signalled_at_ns: int | None = column(BigInteger, nullable=True)
    consumed_at_ns: int | None = column(
        BigInteger, nullable=True, comment="set once the order's workflow durably knows the report"
    )
    user_id: int | None = column(
        BigInteger, nullable=True, comment="whose order it is of; NULL: of no order of ours"
    )
    booked_at_ns: int | None = column(
        BigInteger, nullable=True, comment="set in the transaction that brings the books up to the report"
    )
    alerted_at_ns: int | None = column(
        BigInteger, nullable=True, comment="the risk desk was told, once, that the report is not booked"
    )


class FixSessionRow(Row, table=True):
    """The next inbound sequence number of a FIX session (MsgSeqNum, tag 34).

    All messages before it are durable in the inbox; after a crash the session is set back to it and the
    exchange resends the rest.
    """

    __tablename__ = "fix_sessions"

    session: str = column(String(60), primary_key=True)
    next_inbound: int = column(BigInteger)
    updated_at_ns: int = column(BigInteger)
