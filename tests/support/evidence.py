"""What the systems left behind, read from outside: SQL, the margin view, the exchange's own files.

Nothing here asks our code what happened. The rules over it are in tests/support/invariants.py.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psycopg
from psycopg.rows import dict_row
from redis import Redis

from config.rules import exposure_rates
from config.settings import Settings
from domain.portfolio_margin import MarginParameters
from exchange.files.span_parser import read_span_file
from exchange.files.trade_file import read_trade_file, trade_file_paths
from tests.support.clients import Request

Row = dict[str, Any]
_OF_USERS = {
    "users": "SELECT user_id, client_id FROM users WHERE client_id = ANY(%s)",
    "orders": "SELECT o.* FROM orders o JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "keys": "SELECT k.* FROM idempotency_keys k JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "intake": "SELECT i.* FROM order_intake i JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "trades": "SELECT t.* FROM trades t JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "holds": "SELECT h.* FROM margin_holds h JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "ledgers": "SELECT l.* FROM margin_ledger l JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "holdings": "SELECT h.* FROM holdings h JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "positions": "SELECT p.* FROM positions p JOIN users USING (user_id) WHERE client_id = ANY(%s)",
    "records": """SELECT a.* FROM audit_log a JOIN users USING (user_id)
                  WHERE client_id = ANY(%s) AND order_id IS NOT NULL ORDER BY user_seq""",
}


@dataclass
class Evidence:
    """Rows of these clients alone, except `postings`: those are everybody's."""

    requests: list[Request]
    users: list[Row]
    orders: list[Row]
    keys: list[Row]
    intake: list[Row]
    trades: list[Row]
    holds: list[Row]
    ledgers: list[Row]
    holdings: list[Row]
    positions: list[Row]
    records: list[Row]
    postings: list[Row]
    views: dict[int, dict[str, int]]
    """Redis' margin view by user."""
    file: list[Row]
    """The exchanges' trade files: what they say was traded."""
    entered: dict[str, list[str]]
    """By exchange, the ClOrdID of each new order that it took or refused, as often as it did so."""
    risk: MarginParameters | None
    """Of the NSE's risk file; None where there is none."""


def collect(settings: Settings, requests: Iterable[Request]) -> Evidence:
    with psycopg.connect(settings.postgres_dsn, row_factory=dict_row) as conn:
        return read(conn, settings, requests)


def read(conn: psycopg.Connection[Row], settings: Settings, requests: Iterable[Request]) -> Evidence:
    """Through a connection of the caller's, so that it may show what is not committed."""
    asked = list(requests)
    clients = [sorted({request.client_id for request in asked})]
    rows = {name: conn.execute(query.encode(), clients).fetchall() for name, query in _OF_USERS.items()}
    postings = conn.execute("SELECT movement, account, amount FROM ledger_postings").fetchall()
    with Redis.from_url(settings.redis_dsn) as redis:
        views = {user["user_id"]: _view(redis, user["user_id"]) for user in rows["users"]}
    return Evidence(
        requests=asked,
        **rows,
        postings=postings,
        views=views,
        file=[row for exchange in settings.exchanges for row in _trade_file(settings.data_dir, exchange)],
        entered={exchange: list(_entered(settings.data_dir, exchange)) for exchange in settings.exchanges},
        risk=_risk(settings.data_dir),
    )


def _risk(directory: Path) -> MarginParameters | None:
    paths = sorted(directory.glob("exchange-NSE-span-*.spn"))
    if not paths:
        return None
    span = read_span_file(paths[-1])
    return MarginParameters(span, exposure_rates(span.business_date))


def _view(redis: Redis, user_id: int) -> dict[str, int]:
    fields: Any = redis.hgetall(f"margin:{{{user_id}}}")
    return {name.decode(): int(value) for name, value in fields.items()}


def _trade_file(directory: Path, exchange: str) -> Iterable[Row]:
    for path in trade_file_paths(directory, exchange):
        for leg in read_trade_file(path):
            yield asdict(leg) | {"cl_ord_id": leg.order_id, "exchange": exchange}


def _entered(directory: Path, exchange: str) -> Iterable[str]:
    """From the exchange's journal: first reports (150 = 0 or 8), each of an order number of its own."""
    path = directory / f"simulator-{exchange}" / "journal.jsonl"
    for line in path.read_text().splitlines() if path.exists() else ():
        for report in json.loads(line).get("reports", ()):
            if report.get("exec_type") in {"0", "8"}:
                yield report["cl_ord_id"]
