"""Rupees at the edge, integer paise inside; nothing is ever rounded silently."""

import re

PAISE_PER_RUPEE = 100
PAISE_MAX = 10**15
"""Rs 10 lakh crore; every sum stays far below 2**53, so Lua's doubles hold it exactly."""
_RUPEES = re.compile(r"(-?)(\d{1,13})(?:\.(\d{1,2})0*)?")


def paise(rupees: str) -> int:
    """Paise in a decimal string such as "2450.50"; trailing zeros are fine.

    Raises ValueError for more than two significant decimals, exponents, signs other than a leading
    minus, or anything that is not a plain decimal number.
    """
    match = _RUPEES.fullmatch(rupees)
    if match is None or not rupees.isascii():
        raise ValueError(f"{rupees[:40]!r} is not an amount in rupees with at most two decimals")
    sign, whole, fraction = match.groups()
    amount = int(whole) * PAISE_PER_RUPEE + int((fraction or "").ljust(2, "0"))
    return -amount if sign else amount


def rupees(paise: int) -> str:
    """The decimal string of an amount: 245050 -> "2450.50"."""
    sign = "-" if paise < 0 else ""
    return f"{sign}{abs(paise) // PAISE_PER_RUPEE}.{abs(paise) % PAISE_PER_RUPEE:02d}"


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up; margin is rounded against the client, never for him."""
    return -(-numerator // denominator)


def round_half_up(numerator: int, denominator: int) -> int:
    """Integer division to the nearest, halves away from zero; for averages that are shown."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
