"""What a soak looks at from outside while it runs: reports without their trade, orders without a story.

Every look is a plain query on a connection of its own, or Temporal's own answer; no counter of the platform
is believed.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg.rows import DictRow, dict_row
from temporalio.client import Client as Temporal
from temporalio.client import WorkflowExecutionStatus
from temporalio.service import RPCError, RPCStatusCode

from domain.time import NANOS
from workflow_api.contracts import order_workflow_id

BOOKED_WITHIN_NS = 5 * NANOS
LOOK_BACK_NS = 120 * NANOS
"""A trade that is older was looked at a hundred times."""

_UNBOOKED = """
    SELECT exchange || ' ' || report_id AS report, order_id, received_at_ns FROM exchange_inbox i
    WHERE received_at_ns BETWEEN %(now)s - %(back)s AND %(now)s - %(within)s AND broken IS NULL
      AND report->>'exec_type' = 'F'
      AND NOT EXISTS (SELECT FROM trades t WHERE (t.exchange, t.exec_id) = (i.exchange, i.report->>'exec_id'))
"""
_OPEN = """
    SELECT order_id FROM orders JOIN users USING (user_id)
    WHERE status NOT IN ('EXECUTED', 'SETTLED', 'CANCELLED', 'REJECTED', 'EXPIRED') AND client_id = ANY(%s)
    ORDER BY order_id
"""


@dataclass
class Watch:
    dsn: str
    unbooked: dict[str, float] = field(default_factory=dict)
    """By report: for how many seconds it was seen without its trade in the books."""

    def look(self) -> None:
        """Called each second."""
        now = time.time_ns()
        values = {"now": now, "back": LOOK_BACK_NS, "within": BOOKED_WITHIN_NS}
        for row in self._rows(_UNBOOKED, values):
            report = f"{row['report']} of order {row['order_id']}"
            self.unbooked[report] = round((now - row["received_at_ns"]) / NANOS, 1)

    def open_orders(self, client_ids: Sequence[str]) -> list[int]:
        return [row["order_id"] for row in self._rows(_OPEN, (list(client_ids),))]

    def _rows(self, query: str, values: Any) -> list[DictRow]:
        with psycopg.connect(self.dsn, row_factory=dict_row) as conn:
            return conn.execute(query.encode(), values).fetchall()


async def without_a_story(temporal: Temporal, order_ids: Sequence[int]) -> list[int]:
    """Those whose workflow does not run."""
    return [order_id for order_id in order_ids if not await _runs(temporal, order_id)]


async def _runs(temporal: Temporal, order_id: int) -> bool:
    try:
        described = await temporal.get_workflow_handle(order_workflow_id(order_id)).describe()
    except RPCError as error:
        if error.status is RPCStatusCode.NOT_FOUND:
            return False
        raise
    return described.status is WorkflowExecutionStatus.RUNNING
