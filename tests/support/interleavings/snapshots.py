"""One account's rows and its view: saved, put back, and told apart from others by what they mean.

Putting back touches only the tables and keys that differ. Two states are one when amounts, quantities and
what is still under way agree: times, numbers of rows and names of what is over do not count.
"""

import asyncio
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis.asyncio import Redis

from storage.database import Connection, Database

Row = dict[str, Any]
TABLES = {
    "orders": "user_id = %(user)s ORDER BY order_id",
    "order_intake": "user_id = %(user)s ORDER BY seq",
    "exchange_outbox": "user_id = %(user)s ORDER BY seq",
    "exchange_inbox": "order_id = ANY(%(orders)s) ORDER BY seq",
    "margin_ledger": "user_id = %(user)s",
    "margin_holds": "user_id = %(user)s ORDER BY order_id",
    "holdings": "user_id = %(user)s",
    "positions": "user_id = %(user)s",
    "trades": "user_id = %(user)s ORDER BY place",
    "ledger_postings": """movement IN (SELECT movement FROM ledger_postings
                          WHERE account = 'unsettled:' || %(user)s) ORDER BY posting_id""",
    "trading_states": "key = 'user:' || %(user)s",
}
_SAVE = "SELECT " + ", ".join(
    f"(SELECT json_agg(t) FROM (SELECT * FROM {name} WHERE {rows}) t)::text AS {name}"
    for name, rows in TABLES.items()
)
_COLUMNS = """
    SELECT table_name AS name, string_agg(quote_ident(column_name), ', ') AS columns
    FROM information_schema.columns
    WHERE table_name = ANY(%s) AND table_schema = 'public' AND is_generated = 'NEVER' GROUP BY 1
"""


@dataclass(frozen=True)
class Saved:
    """JSON by table, and hashes by key of the view."""

    tables: Mapping[str, str | None]
    view: Mapping[str, dict[bytes, bytes]]

    def rows(self, table: str) -> list[Row]:
        found: list[Row] = json.loads(self.tables[table] or "[]")
        return found


class Snapshots:
    """Of one account and its orders."""

    def __init__(self, database: Database, redis: Redis, user_id: int, order_ids: Sequence[int]) -> None:
        self._database, self._redis = database, redis
        self._values = {"user": user_id, "orders": list(order_ids)}
        self.account = f"margin:{{{user_id}}}"
        holds = [f"{self.account}:hold:{order_id}" for order_id in order_ids]
        self._keys = [self.account, f"{self.account}:positions", *holds]
        self._columns: dict[str, str] = {}

    async def save(self) -> Saved:
        return Saved(*await asyncio.gather(self._tables(), self._view()))

    async def _tables(self) -> dict[str, str | None]:
        async with self._database.reading() as conn:
            tables = await (await conn.execute(_SAVE.encode(), self._values)).fetchone()
        assert tables is not None
        return tables

    async def _view(self) -> dict[str, dict[bytes, bytes]]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in self._keys:
                pipe.hgetall(key)
            return dict(zip(self._keys, await pipe.execute(), strict=True))

    async def restore(self, present: Saved | None, wanted: Saved) -> None:
        """From `present`, where it is known."""
        names = [n for n in TABLES if present is None or present.tables[n] != wanted.tables[n]]
        keys = [k for k in self._keys if present is None or present.view[k] != wanted.view[k]]
        if names:
            async with self._database.transaction() as conn:
                # Journals are append only for everybody else.
                await conn.execute("SET LOCAL session_replication_role = replica")
                for name in names:
                    await self._put_back(conn, name, wanted.tables[name])
        if keys:
            async with self._redis.pipeline(transaction=True) as pipe:
                for key in keys:
                    pipe.delete(key)
                    if wanted.view[key]:
                        pipe.hset(key, mapping=wanted.view[key])  # type: ignore[arg-type]
                await pipe.execute()

    async def _put_back(self, conn: Connection, name: str, rows: str | None) -> None:
        if not self._columns:
            found = await (await conn.execute(_COLUMNS, (list(TABLES),))).fetchall()
            self._columns = {row["name"]: row["columns"] for row in found}
        condition = TABLES[name].partition("ORDER BY")[0]
        await conn.execute(f"DELETE FROM {name} WHERE {condition}".encode(), self._values)
        if rows is not None:
            columns = self._columns[name]
            await conn.execute(
                f"INSERT INTO {name} ({columns}) OVERRIDING SYSTEM VALUE"
                f" SELECT {columns} FROM json_populate_recordset(NULL::{name}, %s)".encode(),
                (rows,),
            )


def meaning(saved: Saved, account: str, beside: object) -> str:
    """What the state is, in a text that is the same for states in which the same can happen.

    `beside` is what processes and the exchange know. Numbers of requests and reports are replaced by their
    rank among those that still matter.
    """
    ledger = saved.rows("margin_ledger")[0]
    due = [r for r in saved.rows("exchange_inbox") if is_due(r)]
    owed = [r for r in saved.rows("exchange_outbox") if r["answered_at_ns"] is None]
    live = {r["report_id"] for r in due} | {r["report"]["cl_ord_id"] for r in due}
    live |= {r["cl_ord_id"] for r in owed}
    early = {r["order_id"] for r in saved.rows("orders") if r["status"] == "PENDING_VALIDATION"}
    view = {key.removeprefix(account): value for key, value in saved.view.items()}
    told = [
        [_plain(r) for r in saved.rows("orders")],
        [[r["order_id"], r["gate_passed_at_ns"] is not None] for r in saved.rows("order_intake")],
        [_plain(r) for r in owed],
        [[r["report"], r["broken"]] for r in due],
        _plain(ledger) | {"version": 0, "generation": 0, "portfolio_version": 0},
        [_plain(r) for name in ("margin_holds", "holdings", "positions") for r in saved.rows(name)],
        [r["state"] for r in saved.rows("trading_states")],
        _view(view[""], ledger),
        sorted((k.decode(), int(v)) for k, v in view[":positions"].items() if int(v)),
        [
            _hold(int(k.partition(":hold:")[2]), v, ledger, early, live)
            for k, v in view.items()
            if ":hold:" in k
        ],
        beside,
    ]
    return _ranked(json.dumps(told, sort_keys=True))


def is_due(row: Row) -> bool:
    """Whether a report of the inbox waits to be booked."""
    return row["booked_at_ns"] is None and row["broken"] is None


_NAMELESS = {"seq", "intake_seq", "traceparent", "idempotency_key", "session", "owner", "sends"}
_NAMELESS |= {"changes", "instruction_seq", "signalled_at_ns", "updated_at_ns", "workflow_due_at_ns"}


def _plain(row: Row) -> Row:
    """Of times only whether they are there."""
    times = {name: value is not None for name, value in row.items() if name.endswith("_at_ns")}
    kept = {n: v for n, v in (row | times).items() if n not in _NAMELESS}
    if "instruction" in kept:
        terms = kept["instruction"]
        kept["instruction"] = [terms.get("quantity"), terms.get("price")]
    return kept


def _view(fields: Mapping[bytes, bytes], ledger: Row) -> Row:
    found = {k.decode(): v.decode() for k, v in fields.items()}
    for name in ("generation", "portfolio_version"):
        if name in found:
            found[name] = _compared(int(found[name]), ledger[name])
    return found


def _compared(number: int, other: int) -> str:
    return "same" if number == other else "later" if number > other else "earlier"


def _hold(order_id: int, fields: Mapping[bytes, bytes], ledger: Row, early: set[int], live: set[str]) -> Row:
    found = _view(fields, ledger)
    found.pop("available", None)
    for name in list(found):
        over = name.startswith(("fill:", "step:")) and not any(name.endswith(one) for one in live)
        if over or (name.startswith("blocked_") and order_id not in early):
            del found[name]
    return found


_NUMBERED = re.compile(r"(\d{15})([-/])(\d+)")


def _ranked(text: str) -> str:
    numbers: dict[tuple[str, str], set[int]] = {}
    for order, kind, number in _NUMBERED.findall(text):
        numbers.setdefault((order, kind), set()).add(int(number))
    ranks = {key: {n: rank for rank, n in enumerate(sorted(found))} for key, found in numbers.items()}

    def renamed(match: re.Match[str]) -> str:
        order, kind, number = match.groups()
        return f"{order}{kind}{ranks[order, kind][int(number)]}"

    return _NUMBERED.sub(renamed, text)
