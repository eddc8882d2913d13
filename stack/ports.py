"""Every port of the embedded stack, who wants it, and the check that it is free before anything starts.

`HUNDI_PORT_OFFSET` moves all of them, `HUNDI_<NAME>_PORT` one.
"""

import socket
from dataclasses import dataclass

from config.settings import Settings
from exchange.feed import FeedLine, feed_port
from stack.errors import StackError


@dataclass(frozen=True, slots=True)
class Port:
    setting: str
    """`postgres` for `postgres_port`: also names the variable, HUNDI_POSTGRES_PORT."""
    number: int
    wanted_by: str
    kind: socket.SocketKind = socket.SOCK_STREAM


def ports(settings: Settings) -> list[Port]:
    """All ports, the offset already added."""
    single = {
        "postgres": "PostgreSQL",
        "redis": "Valkey",
        "temporal": "the Temporal server",
        "temporal_ui": "the Temporal UI",
        "api": "the API",
    }
    found = [Port(name, settings.port(name), wanted_by) for name, wanted_by in single.items()]
    found += [
        Port("stream", settings.port("stream", number), f"realtime gateway {number}")
        for number in range(settings.realtime_gateways)
    ]
    for index, exchange in enumerate(settings.exchanges):
        found.append(Port("fix", settings.port("fix", index), f"the {exchange} simulator"))
        for line in FeedLine:
            reader = f"the {exchange} feed"
            found.append(Port("feed", feed_port(settings, exchange, line), reader, socket.SOCK_DGRAM))
    return found


def ensure_free(settings: Settings) -> None:
    """Raises StackError with one sentence for the first port that something else holds."""
    for port in ports(settings):
        if not is_free(settings.host, port):
            raise StackError(
                f"port {port.number} is in use and {port.wanted_by} wants it: free it, or move it with "
                f"HUNDI_{port.setting.upper()}_PORT (HUNDI_PORT_OFFSET moves all ports)"
            )


def is_free(host: str, port: Port) -> bool:
    with socket.socket(socket.AF_INET, port.kind) as probe:
        if port.kind is socket.SOCK_STREAM:
            # As the servers do: a connection that lingers in TIME_WAIT is not "in use".
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port.number))
        except OSError:
            return False
    return True
