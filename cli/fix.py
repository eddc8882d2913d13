"""`hundi fix ORDER_ID`: the order's messages as they were on the wire, oldest first."""

import sys

from rich.console import Console, Group
from rich.padding import Padding
from rich.text import Text

from config.settings import settings
from exchange.fix.wire_log import WireMessage, messages_of


def main(order_id: str) -> None:
    """Exit code 1 when the wire log names no such order."""
    messages = messages_of(settings().data_dir, order_id)
    if not messages:
        sys.exit(f"hundi: the wire log has no message of order {order_id[:20]}")
    console = Console(highlight=False)
    for message in messages:
        console.print(wire_message(message))


def wire_message(message: WireMessage) -> Group:
    """When, from whom to whom and what; below it the fields, broken between two where the line ends."""
    head = f"{message.time.partition('-')[2]}  {message.way}  [bold]{message.name}"
    return Group(head, Padding(Text(message.body), (0, 0, 0, 4)))
