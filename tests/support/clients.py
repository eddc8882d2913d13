"""Clients of the API: signed in, and an order as its JSON body."""

from typing import Any
from uuid import uuid4

import httpx


async def sign_in(http: httpx.AsyncClient, client_id: str) -> None:
    """Every later request of `http` is this client's."""
    answer = await http.post("/api/v1/session", json={"client_id": client_id, "password": "demo"})
    assert answer.status_code == 200
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


def an_order(**changes: Any) -> dict[str, Any]:
    """BUY 10 NSE:RELIANCE MARKET CNC DAY with a fresh key; a change to None leaves the member out."""
    body = {
        "instrument_id": "NSE:RELIANCE",
        "order_type": "MARKET",
        "transaction_type": "BUY",
        "quantity": 10,
        "product": "CNC",
        "validity": "DAY",
        "idempotency_key": str(uuid4()),
    }
    return {name: value for name, value in (body | changes).items() if value is not None}
