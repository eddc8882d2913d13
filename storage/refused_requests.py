"""Refused requests on record: what would have been an act, and who asked.

Of each asker and minute the first are rows of their own, and what comes after is one row that counts by code,
so that a flood fills nothing. A user is one asker, wherever he asks from; strangers are told apart by address
(of IPv6 by network), at most STRANGERS_MOST of them, the others are one, so they never take a user's place.
Refusing waits for nothing and fails open: a row that cannot be written now is written as soon as it can, and
what a process holds when it dies, a second's worth, is lost. Acts themselves are on record in their own
transactions, or do not happen. Called by the API.
"""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import psycopg
import structlog

from bus import background
from domain.addresses import network_of
from domain.events import RecordEvent
from domain.time import NANOS, rfc3339
from storage import audit
from storage.audit import NOWHERE, AuditEntry, Origin
from storage.database import Database

OF_A_USER, OF_A_STRANGER = 20, 5
"""Refusals in a minute that are rows of their own."""
STRANGERS_MOST = 100
MINUTE_NS = 60 * NANOS
WRITE_SECONDS = 1.0
STRANGER = "stranger"
log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class RefusedRequest:
    """One request that was refused."""

    request: str
    """Method and route: `POST /api/v1/orders`."""
    status: int
    code: str
    origin: Origin
    user_id: int = 0
    """0: of no session."""
    asker: str = STRANGER
    claimed: str | None = None
    """The client id that a stranger wanted to sign in as."""
    at_ns: int = field(default_factory=time.time_ns)


@dataclass(slots=True)
class _Minute:
    """What one asker was refused since then."""

    since_ns: int
    taken: int = 0
    """Refusals with a row of their own, on record or waiting."""
    waiting: list[RefusedRequest] = field(default_factory=list)
    rest: Counter[str] = field(default_factory=Counter)
    """The others, by code."""
    last: RefusedRequest | None = None
    """Of these."""


class RefusedRequests:
    """One a process."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._minutes: dict[object, _Minute] = {}
        self._strangers = 0
        """Of these, by address."""
        self._writing = asyncio.Lock()

    def add(self, refused: RefusedRequest) -> None:
        """It is on record, or counted, within a second."""
        asker = self._asker(refused)
        minute = self._minutes.get(asker)
        if minute is None:
            minute = self._minutes[asker] = _Minute(refused.at_ns)
            self._strangers += isinstance(asker, str)
        if minute.taken < (OF_A_USER if refused.user_id else OF_A_STRANGER):
            minute.taken += 1
            minute.waiting.append(refused)
        else:
            minute.rest[refused.code] += 1
            minute.last = refused

    def _asker(self, refused: RefusedRequest) -> object:
        """A user, an address, or None for strangers beyond counting."""
        if refused.user_id:
            return refused.user_id
        source = network_of(refused.origin.client_ip or "")
        return source if source in self._minutes or self._strangers < STRANGERS_MOST else None

    async def write(self, now_ns: int, *, ending: bool = False) -> None:
        """Put on record what waits, and the rest of each minute that is over; at the end of every one."""
        async with self._writing:
            await self._write(now_ns, ending)

    async def _write(self, now_ns: int, ending: bool) -> None:
        over = [a for a, m in self._minutes.items() if ending or now_ns - m.since_ns >= MINUTE_NS]
        waiting = {asker: list(m.waiting) for asker, m in self._minutes.items() if m.waiting}
        rests = {asker: self._minutes[asker].rest.copy() for asker in over if self._minutes[asker].rest}
        entries = [_entry(refused) for told in waiting.values() for refused in told]
        entries += [_rest_entry(asker, self._minutes[asker], rest) for asker, rest in rests.items()]
        if entries:
            async with self._database.transaction() as conn:
                await audit.append(conn, sorted(entries, key=lambda entry: entry.user_id))
        for asker, told in waiting.items():
            del self._minutes[asker].waiting[: len(told)]
        for asker in over:
            self._end(asker, rests.get(asker, Counter()), now_ns)

    def _end(self, asker: object, told: Counter[str], now_ns: int) -> None:
        """The asker's minute is over; what has come since it was written begins the next."""
        minute = self._minutes[asker]
        minute.rest -= told
        minute.since_ns, minute.taken = now_ns, len(minute.waiting)
        if not minute.waiting and not minute.rest:
            del self._minutes[asker]
            self._strangers -= isinstance(asker, str)


@asynccontextmanager
async def recording(refused: RefusedRequests) -> AsyncIterator[None]:
    """Written every second, and at the end."""
    async with background.running(_write_on(refused), "refused requests"):
        yield
    await _tried(refused, ending=True)


async def _write_on(refused: RefusedRequests) -> None:
    while True:
        await asyncio.sleep(WRITE_SECONDS)
        await _tried(refused)


async def _tried(refused: RefusedRequests, *, ending: bool = False) -> None:
    try:
        await refused.write(time.time_ns(), ending=ending)
    except (psycopg.Error, OSError) as error:
        log.warning("refusals_not_on_record", error=str(error))


def _entry(refused: RefusedRequest) -> AuditEntry:
    detail = {"request": refused.request, "status": refused.status, "code": refused.code}
    claimed = {} if refused.claimed is None else {"client_id": refused.claimed}
    entry = AuditEntry(
        refused.at_ns, refused.user_id, RecordEvent.REQUEST_REFUSED, refused.asker, detail=detail | claimed
    )
    return audit.coming_from(refused.origin, entry)


def _rest_entry(asker: object, minute: _Minute, rest: Counter[str]) -> AuditEntry:
    """How often the asker was refused besides; where it came from last."""
    last = minute.last
    assert last is not None
    detail = {"times": rest.total(), "codes": dict(rest), "since": rfc3339(minute.since_ns)}
    entry = AuditEntry(last.at_ns, last.user_id, RecordEvent.REQUESTS_REFUSED, last.asker, detail=detail)
    # Of many strangers no address is theirs.
    return audit.coming_from(last.origin if asker is not None else NOWHERE, entry)
