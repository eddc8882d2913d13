"""The proxies of `HUNDI_TRUSTED_PROXIES`: who may say for whom it asks. As uvicorn reads X-Forwarded-For."""

from collections.abc import Iterable

from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware


class TrustedProxies:
    """Addresses and networks."""

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._hosts = ProxyHeadersMiddleware(_nothing, list(names)).trusted_hosts

    def __contains__(self, address: str) -> bool:
        return address in self._hosts

    def client(self, forwarded_for: str) -> str:
        """The nearest address in the header's list that is no proxy of ours; empty if the list is."""
        return self._hosts.get_trusted_client_address(forwarded_for)[0]


async def _nothing(*_: object) -> None:
    """The application behind uvicorn's middleware, of which only the list of hosts is wanted."""
