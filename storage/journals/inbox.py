"""The inbox: what the exchange said, journaled once and applied to the order in the same transaction.

(exchange, report_id) makes a repeated report one row without effect. A report that does not fit its order
is a break: its row says why, the order stays as it was, and work goes on. It is tried again whenever another
report of its order is applied, for it may only have come too early. `fix_sessions.next_inbound`
moves in the same transaction, so that after a crash the exchange resends exactly what is not here.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from domain.execution import Agreement, Break, Outcome, Step, apply, is_unknown_order
from domain.reports import Announcement, CancelRejected, ExecutionReport
from storage.audit import AuditEntry
from storage.database import Connection, columns
from storage.journals import announcements, error_trades, out_of_order, outbox
from storage.journals.inbox_rows import Arrival, Unreadable, document
from storage.journals.report_entries import entry
from storage.locks import LockedOrder
from storage.risk.risk_alerts import RiskAlert

_INSERT = """
    INSERT INTO exchange_inbox (exchange, report_id, session, msg_seq_num, order_id, user_id, owner, report,
                                traceparent, received_at_ns)
    SELECT * FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[],
                         %s::text[], %s::jsonb[], %s::text[], %s::bigint[])
    ON CONFLICT (exchange, report_id) DO NOTHING RETURNING exchange, report_id, seq
"""
_SETTLE = """
    UPDATE exchange_inbox i SET broken = s.broken, report = s.report, consumed_at_ns = s.consumed_at_ns,
        booked_at_ns = s.consumed_at_ns
    FROM unnest(%s::bigint[], %s::text[], %s::jsonb[], %s::bigint[])
        AS s (seq, broken, report, consumed_at_ns)
    WHERE i.seq = s.seq
"""
_UPDATE_ORDERS = """
    UPDATE orders o SET status = s.status::order_status, quantity = s.quantity, price = s.price,
        trigger_price = s.trigger_price, filled_quantity = s.filled_quantity, filled_value = s.filled_value,
        taken_back_quantity = s.taken_back,
        exchange_order_id = s.exchange_order_id, reject_code = s.reject_code,
        reject_reason = s.reject_reason, updated_at_ns = s.updated_at_ns
    FROM unnest(%s::bigint[], %s::text[], %s::int[], %s::bigint[], %s::bigint[], %s::int[], %s::bigint[],
                %s::int[], %s::text[], %s::text[], %s::text[], %s::bigint[])
        AS s (order_id, status, quantity, price, trigger_price, filled_quantity, filled_value, taken_back,
              exchange_order_id, reject_code, reject_reason, updated_at_ns)
    WHERE o.order_id = s.order_id
"""
_NEXT_INBOUND = """
    INSERT INTO fix_sessions (session, next_inbound, updated_at_ns)
    SELECT * FROM unnest(%s::text[], %s::bigint[], %s::bigint[])
    ON CONFLICT (session) DO UPDATE SET updated_at_ns = excluded.updated_at_ns,
        next_inbound = GREATEST(fix_sessions.next_inbound, excluded.next_inbound)
"""


@dataclass(frozen=True, slots=True)
class BrokenReport:
    """For the alert: which report, of which order, and why."""

    arrival: Arrival
    reason: str


@dataclass(frozen=True, slots=True)
class Journaled:
    """What a batch did; to be published, woken and alerted after the commit."""

    entries: list[AuditEntry]
    owners: set[str]
    breaks: list[BrokenReport]
    unknown: list[str]
    """ClOrdIDs the exchange does not know: they are owed again."""
    sent_at_ns: list[int]
    """Of each request whose first answer this is."""
    alerts: list[RiskAlert]


async def next_inbound(conn: Connection, session: str) -> int:
    """The first inbound sequence number of a session that is not durable here."""
    cursor = await conn.execute("SELECT next_inbound FROM fix_sessions WHERE session = %s", (session,))
    row = await cursor.fetchone()
    return int(row["next_inbound"]) if row else 1


async def journal(
    conn: Connection, arrivals: Sequence[Arrival], orders: dict[int, LockedOrder], now_ns: int
) -> Journaled:
    """Journal a batch and apply what is new of it; `orders` are locked. Order of arrival is kept."""
    told = [a for a in arrivals if not isinstance(a.report, Announcement)]
    fresh = await _insert(conn, told, orders)
    done = Journaled([], set(), [], [], [], [])
    settled: list[tuple[int, str | None, Jsonb, int | None]] = []
    changed: dict[int, LockedOrder] = {}
    await out_of_order.recall_trades(conn, fresh, orders)

    def take(arrival: Arrival) -> Outcome:
        outcome = _apply(arrival, orders, done.unknown)
        if isinstance(outcome, Step):
            order = orders[arrival.order_id or 0]
            order.view, changed[order.order_id] = outcome.view, order
            out_of_order.remember(order, outcome.report)
            done.entries.append(entry(arrival, order, outcome))
            done.owners.update({order.owner} if order.owner else ())
        return outcome

    broken: dict[int, BrokenReport] = {}
    for arrival, seq in fresh:
        outcome = take(arrival)
        settled += _settled(arrival, seq, outcome, now_ns)
        if isinstance(outcome, Break):
            broken[seq] = BrokenReport(arrival, outcome.reason)
    if settled:
        await conn.execute(_SETTLE, columns(settled))
    nobodys = [one for one in fresh if one[0].order_id not in orders and error_trades.is_trade(one[0])]
    done.alerts.extend(await error_trades.book(conn, nobodys))
    waiting = [(one.arrival, seq) for seq, one in broken.items() if one.arrival.order_id in changed]
    waiting += await out_of_order.waiting(conn, list(changed.values()), broken)
    for seq in await out_of_order.reconsider(conn, waiting, take):
        broken.pop(seq, None)
    done.breaks.extend(broken.values())
    await write_orders(conn, list(changed.values()), now_ns)
    done.sent_at_ns.extend(await _answer(conn, told, done.unknown, now_ns))
    await _write_sessions(conn, arrivals, now_ns)
    return done


def _apply(arrival: Arrival, orders: dict[int, LockedOrder], unknown: list[str]) -> Outcome:
    report = arrival.report
    assert not isinstance(report, Announcement)
    if isinstance(report, Unreadable):
        return Break(report.reason)
    order = orders.get(arrival.order_id or 0)
    if order is None:
        return Break(f"no order has ClOrdID {report.cl_ord_id}")
    if isinstance(report, ExecutionReport) and is_unknown_order(report):
        unknown.append(report.cl_ord_id)
        return Agreement()
    if isinstance(report, ExecutionReport) and report.reference_exec_id is not None:
        return apply(order.view, report, order.trades.get(report.reference_exec_id))
    return apply(order.view, report)


async def _insert(
    conn: Connection, arrivals: Sequence[Arrival], orders: dict[int, LockedOrder]
) -> list[tuple[Arrival, int]]:
    """The new ones among the arrivals, with their journal number."""
    first = {(a.exchange, a.report_id): a for a in reversed(arrivals)}
    rows = []
    for arrival in reversed(first.values()):
        order = orders.get(arrival.order_id or 0)
        rows.append(
            (
                arrival.exchange,
                arrival.report_id,
                arrival.session,
                arrival.msg_seq_num,
                arrival.order_id,
                order.user_id if order else None,
                order.owner if order else None,
                document(arrival.report),
                order.traceparent if order else "",
                arrival.received_at_ns,
            )
        )
    if not rows:
        return []
    cursor = await conn.execute(_INSERT, [list(column) for column in zip(*rows, strict=True)])
    inserted = await cursor.fetchall()
    fresh = [(first[row["exchange"], row["report_id"]], row["seq"]) for row in inserted]
    return sorted(fresh, key=lambda pair: pair[1])


def _settled(
    arrival: Arrival, seq: int, outcome: Outcome, now_ns: int
) -> Iterator[tuple[int, str | None, Jsonb, int | None]]:
    """What the row must say beyond its arrival: a break, a reading, or that nobody need wait for it."""
    if isinstance(outcome, Break):
        yield seq, outcome.reason, document(arrival.report), None
    elif isinstance(outcome, Agreement):
        yield seq, None, document(arrival.report), now_ns
    elif outcome.report is not arrival.report:
        yield seq, None, document(outcome.report), None


async def write_orders(conn: Connection, orders: Sequence[LockedOrder], now_ns: int) -> None:
    """What the exchange has made of these orders."""
    if not orders:
        return
    views = [o.view for o in orders]
    columns: list[list[Any]] = [
        [o.order_id for o in orders],
        [v.status.value for v in views],
        [v.quantity for v in views],
        [v.price for v in views],
        [v.trigger_price for v in views],
        [v.filled_quantity for v in views],
        [v.filled_value for v in views],
        [v.taken_back for v in views],
        [v.exchange_order_id for v in views],
        [v.reject_code for v in views],
        [v.reject_reason for v in views],
        [now_ns] * len(orders),
    ]
    await conn.execute(_UPDATE_ORDERS, columns)


async def _answer(
    conn: Connection, told: Sequence[Arrival], unknown: Sequence[str], now_ns: int
) -> list[int]:
    """Requests the exchange has spoken of are answered, also by a repeat; unknown ones are owed again."""
    reports = [a.report for a in told if isinstance(a.report, ExecutionReport | CancelRejected)]
    named = {r.cl_ord_id for r in reports} - set(unknown)
    if unknown:
        await outbox.send_again(conn, unknown)
    return await outbox.answered(conn, sorted(named), now_ns) if named else []


async def _write_sessions(conn: Connection, arrivals: Sequence[Arrival], now_ns: int) -> None:
    last: dict[str, int] = {}
    for arrival in arrivals:
        last[arrival.session] = max(last.get(arrival.session, 0), arrival.msg_seq_num + 1)
        if isinstance(arrival.report, Announcement):
            await announcements.keep(conn, arrival.report)
    names = sorted(last)
    await conn.execute(_NEXT_INBOUND, (names, [last[name] for name in names], [now_ns] * len(names)))
