"""RFC 3339 with nine decimals at the edge, integer nanoseconds inside; IST for the trading day."""

from datetime import UTC, date, datetime, time, timedelta, timezone

NANOS = 1_000_000_000
IST = timezone(timedelta(hours=5, minutes=30), "IST")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def rfc3339(time_ns: int) -> str:
    """1708012500123456789 -> "2024-02-15T15:55:00.123456789Z"."""
    seconds, nanos = divmod(time_ns, NANOS)
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


def nanoseconds_of(text: str) -> int:
    """The instant that `rfc3339` wrote. Raises ValueError for any other form."""
    seconds = datetime.strptime(text[:19], "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC)
    return int(seconds.timestamp()) * NANOS + int(text[20:29])


def nanoseconds(instant: datetime) -> int:
    """Of an aware datetime, exactly."""
    since = instant - _EPOCH
    return (since.days * 86_400 + since.seconds) * NANOS + since.microseconds * 1_000


def trade_date(time_ns: int) -> date:
    """The IST calendar day of an instant."""
    return datetime.fromtimestamp(time_ns // NANOS, IST).date()


def ist_ns(day: date, clock: time) -> int:
    """The instant of an IST wall clock's time on a day."""
    return int(datetime.combine(day, clock, IST).timestamp()) * NANOS


def clock_time(time_ns: int) -> str:
    """`15:20 IST`."""
    return f"{datetime.fromtimestamp(time_ns // NANOS, IST):%H:%M} IST"


ORDER_ID_SERIALS = 10**9


def order_id_floor(day: date) -> int:
    """The smallest order id of a day: `YYMMDD` and nine zeros, so a day is one range."""
    return int(f"{day:%y%m%d}") * ORDER_ID_SERIALS
