"""The margin ledger and the holds of pending orders."""

from sqlalchemy import BigInteger, CheckConstraint, Computed, Index, Integer, String, Text, text

from domain.orders import Product, Side
from storage.tables.base import HOLD_STATE, PRODUCT, SIDE, Row, column


class MarginLedgerRow(Row, table=True):
    """The money and margin of an account, in paise.

    The table is the truth of the margin view; Redis holds a copy, valid for one `generation`.
    """

    __tablename__ = "margin_ledger"
    __table_args__ = (
        CheckConstraint("portfolio_blocked <= blocked_margin"),
        CheckConstraint("portfolio_used <= used_margin"),
        {"postgresql_with": {"fillfactor": 50}},
    )

    user_id: int = column(BigInteger, primary_key=True, references="users.user_id")
    cash: int = column(BigInteger)
    realized_pnl: int = column(
        BigInteger,
        default="0",
        comment=("of the day: a loss counts at once, a profit once the day roll has made it cash"),
    )
    blocked_margin: int = column(BigInteger, check="blocked_margin >= 0", default="0")
    used_margin: int = column(BigInteger, check="used_margin >= 0", default="0")
    exposure_margin: int = column(
        BigInteger,
        check="exposure_margin >= 0",
        default="0",
        comment="exposure margin, part of the two portfolio figures",
    )
    available_cash: int = column(
        BigInteger, Computed("cash + LEAST(realized_pnl, 0) - blocked_margin - used_margin", persisted=True)
    )
    generation: int = column(BigInteger, default="0")
    updated_at_ns: int = column(BigInteger)
    version: int = column(
        BigInteger,
        default="0",
        comment=("of the user's portfolio: grows with every change of ledger, holdings, positions"),
    )
    portfolio_blocked: int = column(
        BigInteger,
        check="portfolio_blocked >= 0",
        default="0",
        comment=(
            "SPAN and exposure margin of what orders at work may make of the "
            "portfolio; part of blocked_margin"
        ),
    )
    portfolio_used: int = column(
        BigInteger,
        check="portfolio_used >= 0",
        default="0",
        comment="SPAN and exposure margin of the derivatives held; part of used_margin",
    )
    portfolio_version: int = column(
        BigInteger,
        default="0",
        comment=("of the transaction that reckoned them; never used twice, not even after a rollback"),
    )
    margined_by: str | None = column(
        Text, nullable=True, comment="risk files they were reckoned by; NULL: to be reckoned again"
    )


class MarginHoldRow(Row, table=True):
    """The margin that a pending order holds; unit margins in paise for each share or unit.

    While a change is under way the hold covers both sets of terms.
    """

    __tablename__ = "margin_holds"
    __table_args__ = (
        CheckConstraint("state = 'BLOCKED' OR (open_quantity = 0 AND close_quantity = 0)"),
        CheckConstraint("(changed_unit IS NULL) = (kept_unit IS NULL)"),
        CheckConstraint("(change_id IS NULL) = (changed_unit IS NULL)"),
        Index("margin_holds_live", "user_id", postgresql_where=text("state = 'BLOCKED'")),
    )

    order_id: int = column(BigInteger, primary_key=True)
    user_id: int = column(BigInteger)
    instrument_id: str = column(String(30))
    product: Product = column(PRODUCT)
    transaction_type: Side = column(SIDE)
    unit_margin: int = column(BigInteger, check="unit_margin >= 0")
    open_quantity: int = column(
        Integer,
        check="open_quantity >= 0",
        comment="unfilled quantity that opens a position, at unit_margin each",
    )
    close_quantity: int = column(
        Integer,
        check="close_quantity >= 0",
        comment=("unfilled quantity that closes the position held when it was blocked: no margin"),
    )
    state: str = column(HOLD_STATE, default="'BLOCKED'")
    changed_unit: int | None = column(
        BigInteger,
        check="changed_unit >= 0",
        nullable=True,
        comment="unit margin if the exchange takes the change",
    )
    kept_unit: int | None = column(
        BigInteger, check="kept_unit >= 0", nullable=True, comment="unit margin if it refuses it"
    )
    margin_price: int | None = column(
        BigInteger,
        check="margin_price > 0",
        nullable=True,
        comment="the dearest price at which the order may trade; NULL: the band's end",
    )
    change_id: str | None = column(
        String(24),
        nullable=True,
        comment=(
            "ClOrdID of the change that is not answered in the books: until then "
            "the hold covers both sets of terms"
        ),
    )
