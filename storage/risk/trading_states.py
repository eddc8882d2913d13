"""Trading states: the truth in PostgreSQL, each change on record, and a view in memory for the API.

A stop needs one person, and voids whatever release of it was asked for (storage/risk/releases.py).

A change is effective when it is committed: the order worker's submitting (storage/risk/risk_gate.py) and the
gateway's claims (storage/journals/frozen_outbox.py) ask these rows in their own transactions. The view only
lets the API answer early. Set and lifted by the risk desk (api/risk.py) and, for their own causes, by the
operations worker.
"""

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from psycopg.rows import DictRow
from redis.asyncio import Redis

from bus import wakeups
from domain.events import AlertKind, RecordEvent
from domain.orders import OrderTerms
from domain.rejects import Refusal, RejectCode
from domain.time import rfc3339
from domain.trading_states import (
    Cause,
    Scope,
    Standing,
    TradingState,
    keys_of,
    state_key,
    state_refusal,
    surely_opens,
)
from storage import audit
from storage.audit import NOWHERE, AuditEntry, Origin
from storage.cached_view import STALE_SECONDS
from storage.database import Connection, Database
from storage.risk import risk_alerts
from storage.risk.risk_alerts import RiskAlert

_SET = """
    INSERT INTO trading_states AS s
        (key, cause, scope, scope_id, state, reason, actor, since_ns, reopens_at_ns)
    VALUES (%(key)s, %(cause)s, %(scope)s, %(scope_id)s, %(state)s, %(reason)s, %(actor)s, %(since)s,
            %(reopens)s)
    ON CONFLICT (key, cause) DO UPDATE SET state = excluded.state, reason = excluded.reason,
        actor = excluded.actor, since_ns = excluded.since_ns, reopens_at_ns = excluded.reopens_at_ns
    WHERE (s.state, s.reason, s.reopens_at_ns) IS DISTINCT FROM
          (excluded.state, excluded.reason, excluded.reopens_at_ns)
      AND NOT (s.scope IN ('all', 'segment') AND (s.state, excluded.state) = ('HALTED', 'REDUCING'))
    RETURNING key
"""
_STATE = "SELECT state FROM trading_states WHERE key = %s AND cause = %s"
NO_RELEASE = """
    release_asked_by = NULL, release_asker = NULL, release_reason = NULL, release_until_ns = NULL
"""
_VOID = f"""
    UPDATE trading_states SET {NO_RELEASE} WHERE key = %s AND release_asked_by IS NOT NULL
    RETURNING old.release_asker AS asker
"""
_LIFT = f"""
    UPDATE trading_states SET state = 'ACTIVE', reason = %(reason)s, actor = %(actor)s, since_ns = %(since)s,
        reopens_at_ns = NULL, {NO_RELEASE}
    WHERE key = %(key)s AND cause = ANY(%(causes)s::trading_cause[]) AND state <> 'ACTIVE'
    RETURNING cause
"""
_IN_FORCE = """
    SELECT scope, scope_id, cause, state, reason, actor, since_ns, reopens_at_ns, release_asker,
           release_reason, release_until_ns
    FROM trading_states
    WHERE state <> 'ACTIVE' ORDER BY scope, scope_id, cause
"""
_READ = "SELECT key, scope, cause, state FROM trading_states WHERE state <> 'ACTIVE'"


@dataclass(frozen=True, slots=True)
class StateTarget:
    """What a state is about."""

    scope: Scope
    scope_id: str = ""
    """As people know it."""
    user_id: int | None = None
    """Of a user's scope."""

    @property
    def key(self) -> str:
        return state_key(self.scope, self.scope_id if self.user_id is None else self.user_id)


@dataclass(frozen=True, slots=True)
class RiskAction:
    """Who says so and why; `user_id` is under whom it is on record where the subject is no user."""

    actor: str
    user_id: int
    reason: str
    origin: Origin = NOWHERE
    at_ns: int = field(default_factory=time.time_ns)


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a freeze has done."""

    changed: bool
    """False: it stood so already."""
    alerts: list[RiskAlert]
    """On record; to be told after the commit."""


class HaltStands(Exception):
    """Of everything or a segment: only a release, by two people, ends it."""


async def freeze(
    conn: Connection,
    subject: StateTarget,
    state: TradingState,
    cause: Cause,
    word: RiskAction,
    reopens_at_ns: int | None = None,
) -> Frozen:
    """Stop orders of the subject. Call `tell` after the commit.

    Raises HaltStands where it would let orders pass that a wide halt stops: that is a release.
    """
    alerts = await _void(conn, subject, word)
    values = {
        "key": subject.key,
        "cause": cause,
        "scope": subject.scope,
        "scope_id": subject.scope_id,
        "state": state,
        "reason": word.reason,
        "actor": word.actor,
        "since": word.at_ns,
        "reopens": reopens_at_ns,
    }
    changed = await (await conn.execute(_SET, values)).fetchone()
    if changed is None:
        stands = await (await conn.execute(_STATE, (subject.key, cause))).fetchone()
        if stands is None or stands["state"] != state:
            raise HaltStands
        return Frozen(False, alerts)
    detail: dict[str, Any] = {"state": state, "cause": cause}
    if reopens_at_ns is not None:
        detail["reopens_at"] = rfc3339(reopens_at_ns)
    await record(conn, RecordEvent.FROZEN, subject, word, detail)
    return Frozen(True, alerts)


async def _void(conn: Connection, subject: StateTarget, word: RiskAction) -> list[RiskAlert]:
    """Whoever stops it again, or for another cause, has not heard of the release: it is asked for anew."""
    voided = await (await conn.execute(_VOID.encode(), (subject.key,))).fetchall()
    alerts = []
    for row in voided:
        await record(conn, RecordEvent.RELEASE_VOIDED, subject, word, {"asked_by": row["asker"]})
        about = {"scope": subject.scope, "id": subject.scope_id}
        sentence = f"The release that {row['asker']} asked for is void: {word.actor} has stopped it anew."
        alerts.append(RiskAlert(AlertKind.RELEASE_VOIDED, sentence, detail=about))
    await risk_alerts.record(conn, alerts, word.actor)
    return alerts


async def unfreeze(
    conn: Connection,
    subject: StateTarget,
    causes: Iterable[Cause],
    word: RiskAction,
    asked_by: str | None = None,
) -> list[Cause]:
    """Lift the states of these causes, on one word (two: storage/risk/releases.py); which were in force."""
    values = {
        "key": subject.key,
        "causes": [cause.value for cause in causes],
        "reason": word.reason,
        "actor": word.actor,
        "since": word.at_ns,
    }
    lifted = [Cause(row["cause"]) for row in await (await conn.execute(_LIFT.encode(), values)).fetchall()]
    asked = {} if asked_by is None else {"asked_by": asked_by}
    for cause in lifted:
        await record(conn, RecordEvent.UNFROZEN, subject, word, {"cause": cause, **asked})
    return lifted


async def tell(redis: Redis, exchanges: Iterable[str]) -> None:
    """After the commit: views are read anew, the gateway withdraws what is stopped."""
    await wakeups.wake(redis, wakeups.TRADING_STATES, *(wakeups.outbox(exchange) for exchange in exchanges))


async def in_force(database: Database) -> list[DictRow]:
    """Every state that is not ACTIVE."""
    async with database.reading() as conn:
        return await (await conn.execute(_IN_FORCE)).fetchall()


class TradingStates:
    """The states in memory, kept fresh by storage/cached_view.py."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._standings: dict[str, list[Standing]] = {}
        self._read_at = -STALE_SECONDS

    def refusal(
        self, user_id: int, terms: OrderTerms, segment: str, *, enlarging: bool = True
    ) -> Refusal | None:
        """Why a client's order, or a change to these terms, would surely be refused now.

        None does not mean that it passes.
        """
        if time.monotonic() - self._read_at > STALE_SECONDS:
            return Refusal(RejectCode.TRADING_STATE_UNKNOWN)
        keys = keys_of(user_id, terms.instrument_id, segment)
        standings = [standing for key in keys for standing in self._standings.get(key, ())]
        return state_refusal(standings, opens=enlarging and surely_opens(terms))

    async def refresh(self) -> None:
        asked_at = time.monotonic()
        async with self._database.reading() as conn:
            rows = await (await conn.execute(_READ)).fetchall()
        standings: dict[str, list[Standing]] = {}
        for row in rows:
            standings.setdefault(row["key"], []).append(standing_of(row))
        self._standings, self._read_at = standings, asked_at


def standing_of(row: DictRow) -> Standing:
    return Standing(Scope(row["scope"]), Cause(row["cause"]), TradingState(row["state"]))


async def record(
    conn: Connection, event: RecordEvent, subject: StateTarget, word: RiskAction, detail: dict[str, Any]
) -> None:
    """One act about a subject, with its reason and where it comes from."""
    about = {"scope": subject.scope, "id": subject.scope_id, "reason": word.reason, **detail}
    user_id = subject.user_id if subject.user_id is not None else word.user_id
    entry = AuditEntry(word.at_ns, user_id, event, word.actor, detail=about)
    await audit.append(conn, [audit.coming_from(word.origin, entry)])
