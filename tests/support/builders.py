"""Builders: a valid value of each kind, changed by the one thing a test is about."""

from typing import Any

from domain.instruments import Instrument, InstrumentKind, Segment
from domain.orders import OrderTerms, OrderType, Product, Side, Validity
from domain.reports import ExecType, ExecutionReport, OrdStatus


def an_instrument(**changes: Any) -> Instrument:
    """NSE:RELIANCE near Rs 2,450 with a 10% band and a 0.10 tick."""
    facts: dict[str, Any] = {
        "instrument_id": "NSE:RELIANCE",
        "exchange": "NSE",
        "symbol": "RELIANCE",
        "token": 2885,
        "segment": Segment.CASH,
        "kind": InstrumentKind.EQUITY,
        "name": "Reliance Industries",
        "isin": "INE002A01018",
        "tick_size": 10,
        "lot_size": 1,
        "freeze_quantity": 15000,
        "previous_close": 245000,
        "lower_band": 220500,
        "upper_band": 269500,
        "dynamic_band": True,
        "tradable": True,
    }
    return Instrument(**(facts | changes))


def some_terms(**changes: Any) -> OrderTerms:
    """BUY 100 NSE:RELIANCE LIMIT 2450.50 CNC DAY."""
    terms: dict[str, Any] = {
        "instrument_id": "NSE:RELIANCE",
        "order_type": OrderType.LIMIT,
        "side": Side.BUY,
        "product": Product.CNC,
        "validity": Validity.DAY,
        "quantity": 100,
        "price": 245050,
    }
    return OrderTerms(**(terms | changes))


def a_report(order_id: int = 1, **changes: Any) -> ExecutionReport:
    """The exchange's acknowledgement of BUY 10 RELIANCE, nothing filled."""
    facts: dict[str, Any] = {
        "exec_id": f"{order_id}/ack",
        "exec_type": ExecType.NEW,
        "ord_status": OrdStatus.NEW,
        "cl_ord_id": str(order_id),
        "orig_cl_ord_id": None,
        "exchange_order_id": f"X{order_id}",
        "symbol": "RELIANCE",
        "side": Side.BUY,
        "quantity": 10,
        "cumulative_quantity": 0,
        "leaves_quantity": 10,
        "last_quantity": 0,
        "last_price": 0,
        "price": None,
        "trigger_price": None,
        "stop": False,
        "reject_reason": None,
        "text": None,
        "transact_time_ns": 1,
    }
    return ExecutionReport(**(facts | changes))


def some_trades(order_id: int, fills: list[tuple[int, int]], quantity: int = 10) -> list[ExecutionReport]:
    """A trade for each (quantity, price), in order; each tells what is filled and what is left."""
    trades, filled = [], 0
    for number, (last, price) in enumerate(fills, start=1):
        filled += last
        trades.append(
            a_report(
                order_id,
                exec_id=f"{order_id}/{number}",
                exec_type=ExecType.TRADE,
                ord_status=OrdStatus.FILLED if filled == quantity else OrdStatus.PARTIALLY_FILLED,
                quantity=quantity,
                cumulative_quantity=filled,
                leaves_quantity=quantity - filled,
                last_quantity=last,
                last_price=price,
            )
        )
    return trades
