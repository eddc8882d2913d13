"""Builders: a valid value of each kind, changed by the one thing a test is about."""

from typing import Any

from domain.instruments import Instrument, InstrumentKind, Segment
from domain.orders import OrderTerms, OrderType, Product, Side, Validity


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
