"""Which derivative contracts an exchange lists on a day: the next expiries, month by month and week by week.

A contract follows from its model (an underlying with a strike, without a date) and its expiry alone, so
whoever reads the master on whatever day finds the same contract with the same token and price. An expiry on
a holiday is the trading day before. Called by config/instrument_master.py. Source: market-rules
section 5.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from itertools import count, islice

from domain.instruments import Instrument, InstrumentKind
from domain.sessions import Calendar
from domain.span import DERIVATIVE_SYMBOLS

EVERY_UNDERLYING = "*"
_MONTHS, _WEEK = 12, timedelta(7)
_MONTH_LETTERS = "123456789OND"
_FIRST = date(2026, 1, 1)
_FIRST_MONTHLY, _FIRST_WEEKLY = 200_000, 400_000
"""Tokens below belong to the cash market; both ranges last for a century."""
MODELS_MAX = 160
_OPTION_DEAR, _CHEAP_MOVE, _DEAR_PERCENT = 50_00, 20_00, 40
_WEEK_SHARE = 2
"""A week's option has half the time value of a month's: a quarter of the time."""


@dataclass(frozen=True, slots=True)
class ListingRule:
    """How many expiries are listed at once, and on which weekday they fall (Monday is 0)."""

    exchange: str
    weekly: bool
    """Options alone, each week in which no month ends; otherwise the last such weekday of each month."""
    underlying: str
    weekday: int
    listed: int


def expiries(rule: ListingRule, day: date, calendar: Calendar) -> list[date]:
    """The next ones from a day on, the day itself among them."""
    dates = _weeks(rule, day, calendar) if rule.weekly else _months(rule, day, calendar)
    return list(islice((expiry for expiry in dates if expiry >= day), rule.listed))


def contracts(
    models: Iterable[Instrument],
    spots: Mapping[str, int],
    rules: Iterable[ListingRule],
    day: date,
    calendar: Calendar,
) -> Iterator[Instrument]:
    """Every contract that is listed on a day. `spots`: the underlyings' prices in paise, by instrument id."""
    listed = [(rule, expiries(rule, day, calendar)) for rule in rules]
    for number, model in enumerate(models):
        weeks = _of_a_week(model, spots)
        for rule, dates in listed:
            if _applies(rule, model):
                terms = weeks if rule.weekly else model
                yield from (_contract(terms, number, expiry, weekly=rule.weekly) for expiry in dates)


def option_band(close: int, tick: int) -> tuple[int, int]:
    """Lower and upper band: an option to Rs 50 may move Rs 20 either way, a dearer one 40%."""
    if close <= _OPTION_DEAR:
        return max(close - _CHEAP_MOVE, tick), close + _CHEAP_MOVE
    lower = -(-close * (100 - _DEAR_PERCENT) // (100 * tick)) * tick
    return max(lower, tick), close * (100 + _DEAR_PERCENT) // (100 * tick) * tick


def _contract(model: Instrument, number: int, expiry: date, *, weekly: bool) -> Instrument:
    """`number` is the model's place in the master, to which models are only added."""
    if number >= MODELS_MAX:
        raise ValueError(f"{model.symbol} is beyond the {MODELS_MAX} models that tokens have room for")
    symbol = f"{_product(model)}{_period(expiry, weekly=weekly)}{_suffix(model)}"
    return replace(
        model,
        instrument_id=f"{model.exchange}:{symbol}",
        symbol=symbol,
        name=symbol,
        token=_token(number, expiry, weekly=weekly),
        expiry=expiry,
    )


def _of_a_week(model: Instrument, spots: Mapping[str, int]) -> Instrument:
    """The model at the price that it has with a week to go."""
    spot = spots.get(model.underlying or "")
    if spot is None or model.strike is None:
        return model
    call = model.option_type == "CE"
    intrinsic = min(max(0, spot - model.strike if call else model.strike - spot), model.previous_close)
    time_value = (model.previous_close - intrinsic) // _WEEK_SHARE
    close = max(1, (intrinsic + time_value) // model.tick_size) * model.tick_size
    lower, upper = option_band(close, model.tick_size)
    return replace(model, previous_close=close, lower_band=lower, upper_band=upper)


def _applies(rule: ListingRule, model: Instrument) -> bool:
    if rule.exchange != model.exchange or rule.underlying not in (EVERY_UNDERLYING, model.underlying):
        return False
    return not rule.weekly or model.kind is InstrumentKind.OPTION


def _months(rule: ListingRule, day: date, calendar: Calendar) -> Iterator[date]:
    for month in count(day.year * _MONTHS + day.month - 1):
        yield _month_end(rule.weekday, month, calendar)


def _month_end(weekday: int, month: int, calendar: Calendar) -> date:
    year, index = divmod(month + 1, _MONTHS)
    last = date(year, index + 1, 1) - timedelta(1)
    return _traded(last - timedelta((last.weekday() - weekday) % 7), calendar)


def _weeks(rule: ListingRule, day: date, calendar: Calendar) -> Iterator[date]:
    """Those that no month's expiry takes. A holiday may put an expiry into the days before its weekday."""
    nominal = day + timedelta((rule.weekday - day.weekday()) % 7)
    while True:
        if (nominal + _WEEK).month == nominal.month:
            yield _traded(nominal, calendar)
        nominal += _WEEK


def _traded(day: date, calendar: Calendar) -> date:
    """The day, or the trading day before it."""
    while calendar.covers(day) and not calendar.is_trading_day(day):
        day -= timedelta(1)
    return day


def _product(model: Instrument) -> str:
    _, _, symbol = (model.underlying or "").partition(":")
    return DERIVATIVE_SYMBOLS.get(symbol, symbol)


def _period(expiry: date, *, weekly: bool) -> str:
    """`26DEC`, or `26D08` for the week."""
    if weekly:
        return f"{expiry:%y}{_MONTH_LETTERS[expiry.month - 1]}{expiry:%d}"
    return f"{expiry:%y%b}".upper()


def _suffix(model: Instrument) -> str:
    if model.strike is None:
        return "FUT"
    rupees, paise = divmod(model.strike, 100)
    return f"{rupees}{f'.{paise:02d}' if paise else ''}{model.option_type}"


def _token(number: int, expiry: date, *, weekly: bool) -> int:
    """No two contracts that were ever listed share one."""
    if weekly:
        return _FIRST_WEEKLY + (expiry - _FIRST) // _WEEK * MODELS_MAX + number
    months = (expiry.year - _FIRST.year) * _MONTHS + expiry.month - 1
    return _FIRST_MONTHLY + months * MODELS_MAX + number
