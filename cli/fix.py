"""`hundi fix ORDER_ID`: the order's messages as they were on the wire, oldest first."""

import sys

from rich.console import Console
from rich.table import Table

from config.settings import settings
from exchange.wire_log import WireMessage, messages_of


def main(order_id: str) -> None:
    """Exit code 1 when the wire log names no such order."""
    messages = messages_of(settings().data_dir, order_id)
    if not messages:
        sys.exit(f"hundi: the wire log has no message of order {order_id[:20]}")
    Console(highlight=False).print(wire_table(messages))


def wire_table(messages: list[WireMessage]) -> Table:
    """One row a message."""
    table = Table("time (UTC)", "way", "message", "fields", title="on the wire", title_justify="left")
    for message in messages:
        table.add_row(message.time.partition("-")[2], message.way, message.name, message.body)
    return table
