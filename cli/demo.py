"""`hundi demo`: orders of each kind on the running market, each step printed with the exchange's words.

It knows the platform only as a client does: by HTTP. What it buys and sells is then held against the
exchange's own trade file, to the paisa. Exit code 1 when anything is not as it should be.
"""

import csv
import sys
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from config.settings import Settings, settings
from domain.money import paise, rupees
from stack.errors import StackError

INSTRUMENT = "NSE:RELIANCE"
ANSWER_SECONDS = 10.0
_console = Console(highlight=False, width=120)


def main(_arguments: Sequence[str] = ()) -> None:
    """Raises StackError when no market answers."""
    ours = settings()
    url = f"http://{ours.host}:{ours.port('api')}"
    try:
        with httpx.Client(base_url=url, timeout=10) as http:
            faults = _Demo(http, ours).run()
    except httpx.ConnectError:
        raise StackError(f"no market answers at {url}: start one with `make run`") from None
    if faults:
        sys.exit("hundi: the demo did not go as it should: " + "; ".join(faults))
    _console.print("[green]every step went as it should; the books agree with the exchange to the paisa")


class _Demo:
    """One client, DEMO0001, and what it expects of each order."""

    def __init__(self, http: httpx.Client, ours: Settings) -> None:
        self._http, self._settings = http, ours
        self._faults: list[str] = []

    def run(self) -> list[str]:
        session = self._http.post("/api/v1/session", json={"client_id": "DEMO0001", "password": "demo"})
        session.raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {session.json()['access_token']}"
        facts = self._get("/api/v1/instruments", q="RELIANCE")
        listed: list[dict[str, Any]] = facts["instruments"] if isinstance(facts, dict) else facts
        reliance = next(row for row in listed if row["instrument_id"] == INSTRUMENT)
        before = self._books()

        bought = self._place(
            "a market order is executed at once", "EXECUTED", order_type="MARKET", quantity=5
        )
        low = reliance["lower_band"]
        resting = self._place("a limit order far from the market rests", "OPEN", price=low, quantity=2)
        self._cancel(resting["order_id"])
        self._place(
            "an order beyond the account's means is refused",
            "REJECTED",
            price=reliance["upper_band"],
            quantity=9_000,
        )
        self._compare(before, bought)
        return self._faults

    def _place(self, title: str, expected: str, *, quantity: int, **terms: Any) -> dict[str, Any]:
        body = {
            "instrument_id": INSTRUMENT,
            "order_type": "LIMIT",
            "transaction_type": "BUY",
            "product": "CNC",
            "validity": "DAY",
            "quantity": quantity,
            "idempotency_key": str(uuid.uuid4()),
        } | terms
        began = time.perf_counter()
        answer = self._http.post("/api/v1/orders", json=body)
        milliseconds = (time.perf_counter() - began) * 1000
        answer.raise_for_status()
        order_id = answer.json()["order_id"]
        order = self._until(order_id, lambda found: found["status"] == expected)
        self._show(f"{title}: acknowledged in {milliseconds:.1f} ms", order, expected)
        return order

    def _cancel(self, order_id: str) -> None:
        self._http.delete(f"/api/v1/orders/{order_id}").raise_for_status()
        order = self._until(order_id, lambda found: found["status"] == "CANCELLED")
        self._show("the resting order is cancelled", order, "CANCELLED")

    def _until(self, order_id: str, reached: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + ANSWER_SECONDS
        while True:
            order: dict[str, Any] = self._get(f"/api/v1/orders/{order_id}")
            if reached(order) or time.monotonic() > deadline:
                return order
            time.sleep(0.02)

    def _show(self, title: str, order: dict[str, Any], expected: str) -> None:
        if order["status"] != expected:
            self._faults.append(f"{title}: {order['status']}, expected {expected}")
        table = Table(title=f"{title} -> {order['status']}", title_justify="left", title_style="bold")
        for column in ("seq", "time", "event", "status", "what was said"):
            table.add_column(column)
        known = {"seq", "event", "status", "timestamp", "type", "order_id"}
        for entry in order["history"]:
            said = ", ".join(f"{key} {value}" for key, value in entry.items() if key not in known and value)
            moment = entry["timestamp"][11:-1]
            table.add_row(str(entry["seq"]), moment, entry["event"], entry["status"] or "", said)
        _console.print(table)

    def _books(self) -> dict[str, int]:
        holdings = self._get("/api/v1/portfolio/holdings")
        rows = holdings["holdings"] if isinstance(holdings, dict) else holdings
        held = sum(row["quantity"] for row in rows if row["instrument_id"] == INSTRUMENT)
        margins = self._get("/api/v1/portfolio/margins")
        return {
            "shares held": held,
            "available cash": paise(margins["available_cash"]),
            "used margin": paise(margins["used_margin"]),
            "blocked margin": paise(margins["blocked_margin"]),
        }

    def _compare(self, before: dict[str, int], bought: dict[str, Any]) -> None:
        quantity, value = self._traded(bought["order_id"])
        change = {
            "shares held": quantity,
            "available cash": -value,
            "used margin": value,
            "blocked margin": 0,
        }
        expected = {name: before[name] + change[name] for name in before}
        deadline = time.monotonic() + ANSWER_SECONDS
        while (after := self._books()) != expected and time.monotonic() < deadline:
            time.sleep(0.05)
        table = Table(
            title="the books beside the exchange's trade file", title_justify="left", title_style="bold"
        )
        for column in ("", "before", "the file says", "after"):
            table.add_column(column, justify="right")
        for name in before:
            show = str if name == "shares held" else rupees
            table.add_row(
                name,
                show(before[name]),
                f"{'+' if change[name] >= 0 else ''}{show(change[name])}",
                show(after[name]),
            )
            if after[name] != expected[name]:
                self._faults.append(f"{name} is {show(after[name])}, the file says {show(expected[name])}")
        _console.print(table)

    def _traded(self, order_id: str) -> tuple[int, int]:
        """Quantity and value of an order's trades in the exchange's own file."""
        rows = [
            row
            for path in sorted(Path(self._settings.data_dir).glob("exchange-NSE-trades-*.csv"))
            for row in csv.DictReader(path.open())
            if row["cl_ord_id"] == order_id
        ]
        quantities = [int(row["quantity"]) for row in rows]
        return sum(quantities), sum(n * int(row["price"]) for n, row in zip(quantities, rows, strict=True))

    def _get(self, path: str, **query: str) -> Any:
        answer = self._http.get(path, params=query)
        answer.raise_for_status()
        return answer.json()
