"""The exchanges' risk files of the day, as a process keeps them: read at start, and again when one changes.

A file is `exchange-<EXCHANGE>-span-<YYYYMMDD>.spn`, put there whole (written aside and renamed); of several
the latest day counts. It is good for its day and until the next trading day begins; without a good one
nothing is margined: the answer is a refusal, never an old number. A file that cannot be used is logged and
the last good one stays, to grow stale. Called by the processes that margin derivatives.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import structlog

from bus.background import running
from config.rules import exposure_rates
from config.sessions import session_rules
from domain.portfolio_margin import MarginParameters
from domain.rejects import Refusal, RejectCode
from domain.time import trade_date
from exchange.files.span_parser import read_span_file

LOOK_SECONDS = 1.0
log = structlog.get_logger()


def span_path(folder: Path, exchange: str, day: date) -> Path:
    return folder / f"exchange-{exchange}-span-{day:%Y%m%d}.spn"


@dataclass(frozen=True, slots=True)
class _Seen:
    path: Path
    stamp: tuple[int, int, int]
    """Inode, size and time of change: another file under the same name is another file."""


class SpanFiles:
    """By exchange. Asking costs nothing; the files are looked at by `refresh`."""

    def __init__(
        self, folder: Path, exchanges: Iterable[str], clock: Callable[[], int] = time.time_ns
    ) -> None:
        self._folder, self._exchanges, self._clock = folder, tuple(exchanges), clock
        self._seen: dict[str, _Seen] = {}
        self._read: dict[str, MarginParameters] = {}

    def __call__(self, exchange: str) -> MarginParameters | Refusal:
        """The parameters in force now, or why there are none."""
        params = self._read.get(exchange)
        if params is None:
            return Refusal(RejectCode.SPAN_FILE_MISSING)
        now_ns, day = self._clock(), params.span.business_date
        begun = session_rules().last_begun_day(now_ns)
        if begun is None or not begun <= day <= trade_date(now_ns):
            return Refusal(RejectCode.SPAN_FILE_STALE, limit=day.isoformat())
        return params

    def refresh(self) -> None:
        """Read what is new. Blocks: a large file takes seconds."""
        for exchange in self._exchanges:
            found = self._latest(exchange)
            if found is None or found == self._seen.get(exchange):
                continue
            self._seen[exchange] = found
            try:
                span = read_span_file(found.path)
                if span.exchange != exchange:
                    raise ValueError(f"{found.path.name} is of {span.exchange[:10]}")
                self._read[exchange] = MarginParameters(span, exposure_rates(span.business_date))
                log.info("span_file_read", file=found.path.name, contracts=len(span.contracts))
            except (OSError, ValueError, LookupError) as error:
                log.error("span_file_not_usable", file=found.path.name, error=str(error))

    def _latest(self, exchange: str) -> _Seen | None:
        paths = sorted(self._folder.glob(f"exchange-{exchange}-span-????????.spn"))
        if not paths:
            return None
        try:
            stat = paths[-1].stat()
        except OSError:
            return None
        return _Seen(paths[-1], (stat.st_ino, stat.st_size, stat.st_mtime_ns))


@asynccontextmanager
async def following(files: SpanFiles) -> AsyncIterator[None]:
    """Keep the files read for as long as the context is open; what is there is known when it opens."""
    await asyncio.to_thread(files.refresh)
    async with running(_follow(files), "span files"):
        yield


async def _follow(files: SpanFiles) -> None:
    while True:
        await asyncio.sleep(LOOK_SECONDS)
        await asyncio.to_thread(files.refresh)
