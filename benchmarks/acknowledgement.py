"""The durable acknowledgement: POST /api/v1/orders to 202, the order on disk (fsync, synchronous commit).

Peers: our API's checks with one INSERT a request; FastAPI as tutorials write it. Ceiling: the empty GET of
the same app. The app on one core; the load and the stores on the other. No worker runs, so the orders wait.
Every 202 is looked for in the tables afterwards, or the round does not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import repeat

from benchmarks import cpu, load
from benchmarks.load import Answer, Load, Requests, key_of, seconds_of
from benchmarks.market import PEERS, STORES, Market
from benchmarks.rows import AnyRow, LatencyRow, Row, Trial, compare, compare_latencies
from stack.errors import StackError
from storage.database import Database

ORDER = {
    "instrument_id": "NSE:RELIANCE",
    "order_type": "MARKET",
    "transaction_type": "BUY",
    "quantity": 1,
    "product": "CNC",
    "validity": "DAY",
}
USERS = 100
ROUNDS, ROUND_SECONDS = 3, 0.8
OPEN_SECONDS = 1.5
CROWDS = (16, 64)
OPEN_CONNECTIONS = 64
_OURS = (
    "SELECT count(*) FROM orders JOIN order_intake USING (order_id) WHERE idempotency_key = ANY(%s::uuid[])"
)
_PEERS = "SELECT count(*) FROM {} WHERE key = ANY(%s::uuid[])"


@dataclass(frozen=True, slots=True)
class _Contestant:
    role: str
    name: str
    process: str
    requests: Requests
    accepted: int
    """The status of a good answer."""
    kept: str | None
    """Counts the orders among these keys; None: nothing is kept."""


async def rows(market: Market, database: Database) -> list[AnyRow]:
    """Latencies alone and at half its rate, rates of two crowds."""
    market.run_only("api", *PEERS)
    contestants = await _contestants(market, database)
    for contestant in contestants:
        market.pin(contestant.process, cpu.SERVER_CORE)
    for store in STORES:
        market.pin(store, cpu.LOAD_CORE)
    suite = _Suite(market, database, contestants)
    try:
        alone = await suite.latencies("ack alone")
        crowds = [await suite.rates(crowd) for crowd in CROWDS]
        half = await suite.latencies("ack at half its rate", [row.median / 2 for row in crowds[-1]])
    finally:
        for store in STORES:
            market.unpin(store)
    await market.forget_orders()
    return [*(row for crowd in crowds for row in crowd), *alone, *half]


class _Suite:
    def __init__(self, market: Market, database: Database, contestants: list[_Contestant]) -> None:
        self._market, self._database, self._contestants = market, database, contestants

    async def rates(self, crowd: int) -> list[Row]:
        async def rate(contestant: _Contestant) -> tuple[float, str]:
            answers, note = await self._answers(contestant, connections=crowd)
            return len(answers) / seconds_of(answers), note

        trials = [Trial(c.role, c.name, partial(rate, c)) for c in self._contestants]
        return await compare(f"ack, {crowd} clients", trials, rounds=ROUNDS)

    async def latencies(self, work: str, rates: Sequence[float] | None = None) -> list[LatencyRow]:
        """Of one client after the other, or of an open loop at each contestant's rate."""

        async def latency(contestant: _Contestant, rate: float | None) -> tuple[list[int], str]:
            connections = 1 if rate is None else OPEN_CONNECTIONS
            answers, _ = await self._answers(contestant, connections=connections, rate=rate)
            return [answer.took_ns for answer in answers], f"{rate:,.0f}/s" if rate is not None else ""

        trials = [
            Trial(c.role, c.name, partial(latency, c, rate))
            for c, rate in zip(self._contestants, rates or repeat(None), strict=False)
        ]
        return await compare_latencies(work, trials, rounds=ROUNDS)

    async def _answers(
        self, contestant: _Contestant, *, connections: int, rate: float | None = None
    ) -> tuple[list[Answer], str]:
        """Raises StackError for an answer that was no acknowledgement, or an acknowledged order not kept."""
        ours = self._market.settings
        port = self._market.port(contestant.process)
        seconds = ROUND_SECONDS if rate is None else OPEN_SECONDS
        before = self._market.cpu()
        asked = Load(
            ours.host, port, contestant.requests, connections, seconds, contestant.accepted, rate=rate
        )
        answers = await load.run(self._market.load, asked)
        note = self._market.cpu_note(before, len(answers))
        await self._look_for(contestant, answers)
        return answers, note

    async def _look_for(self, contestant: _Contestant, answers: Sequence[Answer]) -> None:
        if contestant.kept is None:
            return
        async with self._database.reading() as conn:
            found = await conn.execute(contestant.kept, ([key_of(answer.number) for answer in answers],))
            row = await found.fetchone()
        if row is None or row["count"] != len(answers):
            raise StackError(f"{contestant.name} acknowledged {len(answers)} orders and kept {row}")


async def _contestants(market: Market, database: Database) -> list[_Contestant]:
    posts = Requests.posts("/api/v1/orders", await market.tokens(database, USERS), ORDER)

    def peer(name: str, process: str, table: str) -> _Contestant:
        return _Contestant("peer", name, process, posts, 202, _PEERS.format(table))

    return [
        peer("tutorial: SQLModel, SET NX", "peer-tutorial", "peer_tutorial_orders"),
        peer("one INSERT a request", "peer-insert", "peer_insert_orders"),
        _Contestant("ours", "group commit", "api", posts, 202, _OURS),
        _Contestant("ceiling", "empty GET of the same app", "api", Requests.gets("/healthz"), 200, None),
    ]
