"""The base of the tables' classes, their columns, and PostgreSQL's enums."""

from enum import StrEnum
from typing import Any

from sqlalchemy import CheckConstraint, Column, Enum, ForeignKey, Identity, text
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.orm import registry
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import TypeEngine, UserDefinedType
from sqlmodel import Field, SQLModel

from config.tokens import Role
from domain.instruments import InstrumentKind, Segment
from domain.orders import OrderStatus, OrderType, Product, Side, Validity
from domain.trading_states import Cause, Scope, TradingState


class Row(SQLModel, registry=registry()):
    """The base of every table; its metadata holds nothing else."""


class XID8(UserDefinedType[int]):
    """The id of a transaction (64 bits, never reused)."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        return "XID8"


ischema_names["xid8"] = XID8


def column(
    kind: TypeEngine[Any] | type[TypeEngine[Any]],
    *items: SchemaItem,
    check: str | None = None,
    references: str | None = None,
    default: str | None = None,
    nullable: bool = False,
    primary_key: bool = False,
    comment: str | None = None,
) -> Any:
    """Declare a column of PostgreSQL; `check` and `default` are SQL, `references` is table.column."""
    if check is not None:
        items += (CheckConstraint(check),)
    if references is not None:
        items += (ForeignKey(references),)
    made: Column[Any] = Column(
        kind,
        *items,
        server_default=None if default is None else text(default),
        nullable=nullable,
        primary_key=primary_key,
        autoincrement=any(isinstance(item, Identity) for item in items),
        comment=comment,
    )
    return Field(default=None, sa_column=made) if nullable else Field(sa_column=made)


def _enum(name: str, members: type[StrEnum]) -> Enum:
    """The type of PostgreSQL whose labels are the members' values."""
    return Enum(
        members,
        name=name,
        metadata=Row.metadata,
        values_callable=lambda kind: [member.value for member in kind],
    )


USER_ROLE = _enum("user_role", Role)
SEGMENT = _enum("segment", Segment)
INSTRUMENT_KIND = _enum("instrument_kind", InstrumentKind)
ORDER_TYPE = _enum("order_type", OrderType)
SIDE = _enum("side", Side)
PRODUCT = _enum("product", Product)
VALIDITY = _enum("validity", Validity)
ORDER_STATUS = _enum("order_status", OrderStatus)
TRADING_SCOPE = _enum("trading_scope", Scope)
TRADING_STATE = _enum("trading_state", TradingState)
TRADING_CAUSE = _enum("trading_cause", Cause)
INSTRUCTION_KIND = Enum("NEW", "CANCEL", "REPLACE", name="instruction_kind", metadata=Row.metadata)
HOLD_STATE = Enum("BLOCKED", "CONSUMED", "RELEASED", name="hold_state", metadata=Row.metadata)
