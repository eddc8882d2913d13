"""Where a request comes from: address, device and trace, as every act has them on record."""

from ipaddress import ip_address

from fastapi import Request

from storage.audit import Origin

DEVICE = "x-device-fingerprint"
"""The header by which a client names its device; without it the user agent stands for it."""


def origin(request: Request) -> Origin:
    return Origin(_address(request), _device(request), request.state.traceparent)


def _address(request: Request) -> str | None:
    """Without an interface's name; None where it is no address."""
    try:
        return str(ip_address(request.client.host.partition("%")[0])) if request.client else None
    except ValueError:
        return None


def _device(request: Request) -> str | None:
    named = request.headers.get(DEVICE) or request.headers.get("user-agent") or ""
    return "".join(filter(str.isprintable, named))[:200] or None
