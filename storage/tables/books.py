"""The books: holdings, positions, trades, the postings of the ledger."""

from datetime import date

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Date,
    Identity,
    Index,
    Integer,
    String,
    UniqueConstraint,
    text,
)

from domain.orders import Product, Side
from storage.tables.base import PRODUCT, SIDE, Row, column


class HoldingRow(Row, table=True):
    """The shares of a client in one instrument; quantities in shares, cost and margin in paise."""

    __tablename__ = "holdings"
    __table_args__ = (
        CheckConstraint("quantity >= -taken_back_quantity - oversold_quantity"),
        CheckConstraint("t1_quantity BETWEEN 0 AND GREATEST(quantity, 0)"),
        CheckConstraint("blocked_quantity BETWEEN 0 AND quantity + taken_back_quantity + oversold_quantity"),
        CheckConstraint("CASE WHEN quantity > 0 THEN cost >= 0 ELSE cost <= 0 END"),
    )

    user_id: int = column(BigInteger, primary_key=True, references="users.user_id")
    instrument_id: str = column(String(30), primary_key=True)
    quantity: int = column(
        Integer,
        comment=("below zero: sold, and the purchase was taken back since; owed to the clearing house"),
    )
    t1_quantity: int = column(Integer, default="0", comment="bought and not yet settled, part of quantity")
    blocked_quantity: int = column(Integer, default="0", comment="promised to pending sell orders")
    cost: int = column(
        BigInteger,
        comment=(
            "paid for all of quantity, or minus what was received for what is "
            "owed; avg_cost = cost / quantity"
        ),
    )
    taken_back_quantity: int = column(
        Integer,
        check="taken_back_quantity >= 0",
        default="0",
        comment="bought, and taken back by the exchange since",
    )
    oversold_quantity: int = column(
        Integer,
        check="oversold_quantity >= 0",
        default="0",
        comment=(
            "by how much the exchange has sold beyond what was promised: quantity "
            "may fall so far below nothing"
        ),
    )
    bought_on: date | None = column(Date, nullable=True, comment="last day on which shares were bought")
    bought_quantity: int = column(
        Integer, check="bought_quantity >= 0", default="0", comment="bought on that day and not sold on it"
    )
    bought_margin: int = column(
        BigInteger, check="bought_margin >= 0", default="0", comment="used margin of these"
    )


class PositionRow(Row, table=True):
    """The position of a client in one instrument and product; values and margin in paise."""

    __tablename__ = "positions"

    user_id: int = column(BigInteger, primary_key=True, references="users.user_id")
    instrument_id: str = column(String(30), primary_key=True)
    product: Product = column(PRODUCT, primary_key=True, check="product IN ('MIS', 'NRML')")
    buy_quantity: int = column(
        Integer,
        check="buy_quantity >= 0",
        default="0",
        comment="bought in the day, and what was carried into it long",
    )
    sell_quantity: int = column(
        Integer,
        check="sell_quantity >= 0",
        default="0",
        comment="sold in the day, and what was carried into it short",
    )
    buy_value: int = column(BigInteger, default="0", comment="of buy_quantity; what was carried at its cost")
    sell_value: int = column(
        BigInteger, default="0", comment="of sell_quantity; what was carried at its cost"
    )
    open_cost: int = column(
        BigInteger,
        default="0",
        comment=("signed cost of the net quantity: what it was bought for, or minus what it was sold for"),
    )
    realized_pnl: int = column(BigInteger, default="0", comment="of the day")
    margin: int = column(
        BigInteger, check="margin >= 0", default="0", comment="used margin of the net quantity"
    )


class TradeRow(Row, table=True):
    """A booked trade; prices and margins in paise.

    A busted or corrected trade keeps its row. `place` is the order in which trades were booked; a correction
    takes the place of the trade that it corrects, so averages come out as if it had been booked first.
    """

    __tablename__ = "trades"
    __table_args__ = (
        Index("trades_undone", "exchange", "undone_by", postgresql_where=text("undone_by IS NOT NULL")),
        Index("trades_of_order", "order_id"),
        Index("trades_of_user", "user_id", "traded_at_ns"),
        Index(
            "trades_by_time", "traded_at_ns", postgresql_using="brin", postgresql_with={"pages_per_range": 16}
        ),
    )

    exchange: str = column(String(4), primary_key=True)
    exec_id: str = column(String(40), primary_key=True)
    order_id: int = column(BigInteger)
    user_id: int = column(BigInteger)
    instrument_id: str = column(String(30))
    transaction_type: Side = column(SIDE)
    product: Product = column(PRODUCT)
    quantity: int = column(Integer, check="quantity > 0")
    price: int = column(BigInteger, check="price > 0")
    realized_pnl: int = column(BigInteger)
    exchange_order_id: str = column(String(30))
    traded_at_ns: int = column(BigInteger)
    booked_at_ns: int = column(BigInteger)
    place: int = column(BigInteger, Identity(always=False))
    unit_margin: int = column(
        BigInteger, check="unit_margin >= 0", comment="used margin of each share that it opened"
    )
    undone_by: str | None = column(
        String(40),
        nullable=True,
        comment=("exec_id of the report that took it back or corrected it; NULL: it stands"),
    )


class ErrorTradeRow(Row, table=True):
    """A trade of an order that is not ours, until a person assigns it to an account; price in paise."""

    __tablename__ = "error_trades"
    __table_args__ = ({"comment": "trades of no order of ours, posted to error:<exchange>"},)

    exchange: str = column(String(4), primary_key=True)
    exec_id: str = column(String(40), primary_key=True)
    cl_ord_id: str = column(String(60))
    exchange_order_id: str = column(String(30))
    symbol: str = column(String(25))
    transaction_type: Side = column(SIDE)
    quantity: int = column(Integer, check="quantity > 0")
    price: int = column(BigInteger, check="price > 0")
    traded_at_ns: int = column(BigInteger)
    booked_at_ns: int = column(BigInteger)


class PostingRow(Row, table=True):
    """One side of a movement of money, in paise; append only.

    The postings of a movement sum to zero: a deferred trigger checks it at commit.
    """

    __tablename__ = "ledger_postings"
    __table_args__ = (
        UniqueConstraint("movement", "account"),
        Index("ledger_postings_of_account", "account"),
    )

    posting_id: int = column(BigInteger, Identity(always=True), primary_key=True)
    movement: str = column(
        String(60),
        comment=(
            "what happened, once: deposit:<id>, trade:<exchange>:<exec_id>, "
            "undone:<exchange>:<exec_id>, realized:<day>:<user_id>:<ledger version>"
        ),
    )
    account: str = column(
        String(40), comment="cash:<user_id>, unsettled:<user_id>, clearing:<exchange>, bank"
    )
    amount: int = column(BigInteger, check="amount <> 0")
    posted_at_ns: int = column(BigInteger)


class TradeComparisonRow(Row, table=True):
    """The result of comparing the exchange's trade file with the trades of a day; counts of legs."""

    __tablename__ = "trade_file_comparisons"

    exchange: str = column(String(4), primary_key=True)
    trade_date: date = column(Date, primary_key=True)
    closed_ns: int = column(
        BigInteger, comment="when the exchange had announced the close that was compared after"
    )
    compared_at_ns: int = column(BigInteger)
    filed: int = column(
        Integer, comment=("legs in the exchange's file; booked: in our trades; different: not alike")
    )
    booked: int = column(Integer)
    different: int = column(Integer)
