"""The tables of the risk desk: states, limits, bans, halts, missed square-offs."""

from datetime import date
from typing import Any, ClassVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Identity,
    Index,
    Integer,
    String,
    Text,
    UniqueConstraint,
    text,
)

from domain.trading_states import Cause, Scope, TradingState
from storage.tables.base import TRADING_CAUSE, TRADING_SCOPE, TRADING_STATE, Row, column


class TradingStateRow(Row, table=True):
    """A trading state of one key and cause; a state other than ACTIVE stops orders.

    A lifted state keeps its row: it is the latest word on its key.
    """

    __tablename__ = "trading_states"
    __table_args__ = (
        CheckConstraint(
            "release_asked_by IS NULL OR state <> 'ACTIVE'", name="trading_states_release_of_a_stop"
        ),
        CheckConstraint(
            "num_nulls(release_asked_by, release_asker, release_reason, release_until_ns) IN (0, 4)",
            name="trading_states_release_whole",
        ),
        Index("trading_states_in_force", "key", postgresql_where=text("state <> 'ACTIVE'")),
    )

    key: str = column(
        String(60), primary_key=True, comment="all, segment:NSE:CASH, instrument:NSE:TCS, user:<user_id>"
    )
    cause: Cause = column(TRADING_CAUSE, primary_key=True)
    scope: Scope = column(TRADING_SCOPE)
    scope_id: str = column(
        String(30), comment="as people know it: NSE:CASH, NSE:TCS, a client id; empty for all"
    )
    state: TradingState = column(TRADING_STATE)
    reason: str = column(Text)
    actor: str = column(String(60))
    since_ns: int = column(BigInteger)
    reopens_at_ns: int | None = column(
        BigInteger, nullable=True, comment="of a market-wide halt; NULL: not known, or not today"
    )
    release_asked_by: int | None = column(
        BigInteger,
        nullable=True,
        comment="who wants it released (users); another one of the risk desk confirms",
    )
    release_asker: str | None = column(String(60), nullable=True)
    release_reason: str | None = column(Text, nullable=True)
    release_until_ns: int | None = column(
        BigInteger, nullable=True, comment="no confirmation counts from then on"
    )


class RiskLimitRow(Row, table=True):
    """The risk limits of an account from a day on; money in paise, positions in units of one instrument.

    In force is the account's latest row up to the day, otherwise the latest of the broker (`user_id` NULL).
    """

    __tablename__ = "risk_limits"
    __table_args__ = (UniqueConstraint("user_id", "effective_from", postgresql_nulls_not_distinct=True),)

    # The table has no primary key, only a unique pair in which NULL counts as a value.
    __mapper_args__: ClassVar[Any] = {"primary_key": ["user_id", "effective_from"]}

    user_id: int | None = column(BigInteger, references="users.user_id", nullable=True)
    effective_from: date = column(Date)
    exposure_limit: int = column(BigInteger, check="exposure_limit >= 0")
    position_limit: int = column(Integer, check="position_limit >= 0")
    order_value_limit: int = column(BigInteger, check="order_value_limit >= 0")


class DerivativeBanRow(Row, table=True):
    """An underlying whose derivatives may only be reduced on a day, by the exchange's list."""

    __tablename__ = "derivative_bans"

    trade_date: date = column(Date, primary_key=True)
    underlying: str = column(String(30), primary_key=True)


class MarketHaltRow(Row, table=True):
    """A stage of the market-wide circuit breaker; each fires once a day. The index value in paise."""

    __tablename__ = "market_halts"

    trade_date: date = column(Date, primary_key=True)
    move_percent: int = column(Integer, primary_key=True)
    index_id: str = column(String(30))
    index_value: int = column(BigInteger)
    begins_at_ns: int = column(BigInteger)
    auction_at_ns: int | None = column(BigInteger, nullable=True)
    reopens_at_ns: int | None = column(BigInteger, nullable=True)


class MissedSquareOffRow(Row, table=True):
    """A square-off of intraday positions that was missed, and is closed as soon as possible.

    At most one is open for each session class, so two watchers raise one alert.
    """

    __tablename__ = "missed_square_offs"
    __table_args__ = (
        Index(
            "missed_square_offs_open",
            "exchange",
            "session_class",
            unique=True,
            postgresql_where=text("closed_at_ns IS NULL"),
        ),
    )

    id: int = column(BigInteger, Identity(always=True), primary_key=True)
    exchange: str = column(String(4))
    session_class: str = column(String(30))
    day: date = column(Date, comment="the market's day whose square-off it was")
    before_ns: int = column(
        BigInteger, comment="what was open then is to be closed, what was opened later is not"
    )
    closed_at_ns: int | None = column(BigInteger, nullable=True)
