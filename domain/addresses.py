"""What an address counts as where strangers are counted: an IPv6 client has a whole /64 to itself.

Pure. Used by the bounds on connections (workers/http_limits.py), on sockets without sign-in
(realtime/stream/strangers.py) and on the record of refusals (storage/refused_requests.py).
"""

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

ADDRESS_MAX = 100
"""Characters of it that are looked at; a proxy may pass on anything."""


def network_of(address: str) -> str:
    """The address, or its network of IPv6; what is no address stands for itself. Never empty."""
    return _network_of(address[:ADDRESS_MAX])


@lru_cache(maxsize=4096)
def _network_of(address: str) -> str:
    try:
        found = ip_address(address.partition("%")[0])
    except ValueError:
        return address or "unknown"
    if isinstance(found, IPv6Address):
        return str(found.ipv4_mapped or ip_network((found, 64), strict=False))
    return str(found)
