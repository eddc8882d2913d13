"""Rupees at the edge, integer paise inside; nothing is ever rounded silently."""

import re

PAISE_PER_RUPEE = 100
PAISE_MAX = 10**15
"""Rs 10 lakh crore; every sum stays far below 2**53, so Lua's doubles hold it exactly."""
_DECIMAL = re.compile(r"(-?)(\d{1,13})(?:\.(\d{1,20}))?", re.ASCII)


def scaled(text: str, decimals: int) -> int:
    """A decimal string as an integer of 10**-decimals, exactly: ("83.7317", 4) -> 837317.

    Raises ValueError for more significant decimals, exponents, signs other than a leading minus, or
    anything that is not a plain decimal number.
    """
    match = _DECIMAL.fullmatch(text)
    fraction = (match[3] or "").rstrip("0") if match else ""
    if match is None or len(fraction) > decimals:
        raise ValueError(f"{text[:40]!r} is not a number with at most {decimals} decimals")
    amount = int(match[2] + fraction.ljust(decimals, "0"))
    return -amount if match[1] else amount


def unscaled(amount: int, decimals: int) -> str:
    """The decimal string of an integer of 10**-decimals, every decimal written: (837317, 4) -> "83.7317"."""
    sign = "-" if amount < 0 else ""
    whole, fraction = divmod(abs(amount), 10**decimals)
    return f"{sign}{whole}.{fraction:0{decimals}d}"


def paise(rupees: str) -> int:
    """Paise in a decimal string such as "2450.50"; trailing zeros are fine. Raises ValueError."""
    try:
        return scaled(rupees, 2)
    except ValueError:
        raise ValueError(f"{rupees[:40]!r} is not an amount in rupees with at most two decimals") from None


def rupees(paise: int) -> str:
    """The decimal string of an amount: 245050 -> "2450.50"."""
    return unscaled(paise, 2)


def ceil_div(numerator: int, denominator: int) -> int:
    """Integer division rounded up; margin is rounded against the client, never for him."""
    return -(-numerator // denominator)


def round_half_up(numerator: int, denominator: int) -> int:
    """Integer division to the nearest, halves away from zero; for averages that are shown."""
    magnitude = (2 * abs(numerator) + denominator) // (2 * denominator)
    return magnitude if numerator >= 0 else -magnitude
