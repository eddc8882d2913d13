"""Releasing a market-wide or segment stop: one person of the risk desk asks, another confirms in time.

The question stands beside the stop, in its row, whose lock orders everything: of two who confirm at once one
releases and the other finds nothing stopped; a freeze voids the question, so a release never undoes a stop
that its second person has not seen asked about. All of it is on record, and told to the desk. Called by
api/risk.py; what nobody confirms runs out in workers/market_watch.py.
"""

from collections.abc import Collection
from dataclasses import dataclass, replace

from psycopg.rows import DictRow

from domain.events import AlertKind, RecordEvent
from domain.time import clock_time, rfc3339
from domain.trading_states import Cause, Scope
from storage.database import Connection
from storage.risk import risk_alerts, trading_states
from storage.risk.risk_alerts import RiskAlert
from storage.risk.trading_states import NO_RELEASE, RiskAction, StateTarget

ACTOR = "operations"
_STANDING = """
    SELECT cause, release_asked_by, release_asker, release_until_ns FROM trading_states
    WHERE key = %s AND cause = ANY(%s::trading_cause[]) AND state <> 'ACTIVE' ORDER BY cause FOR UPDATE
"""
_ASK = """
    UPDATE trading_states SET release_asked_by = %(user_id)s, release_asker = %(asker)s,
        release_reason = %(reason)s, release_until_ns = %(until)s
    WHERE key = %(key)s AND cause = ANY(%(causes)s::trading_cause[]) AND state <> 'ACTIVE'
"""
_EXPIRE = f"""
    UPDATE trading_states SET {NO_RELEASE}
    WHERE release_until_ns <= %(now)s AND (%(key)s::text IS NULL OR key = %(key)s)
    RETURNING scope, scope_id, old.release_asker AS asker
"""


@dataclass(frozen=True, slots=True)
class ReleaseRequest:
    """A release that waits for its second person."""

    asker: str
    until_ns: int


@dataclass(frozen=True, slots=True)
class Release:
    """What became of it: lifted, or asked for; neither where nothing was stopped."""

    lifted: list[Cause]
    asked: ReleaseRequest | None
    alerts: list[RiskAlert]
    """On record; to be told after the commit."""


class SecondPersonRequired(Exception):
    """The one who asks has asked already."""

    def __init__(self, question: ReleaseRequest) -> None:
        super().__init__(
            f"{question.asker} has asked for this release; another person of the risk desk must confirm it"
            f" by {rfc3339(question.until_ns)}."
        )


async def release(
    conn: Connection, subject: StateTarget, causes: Collection[Cause], word: RiskAction, within_ns: int
) -> Release:
    """Ask for the release, or confirm what another has asked. Raises SecondPersonRequired."""
    named = [cause.value for cause in causes]
    rows = await (await conn.execute(_STANDING, (subject.key, named))).fetchall()
    if not rows:
        return Release([], None, [])
    row = next((row for row in rows if _is_open(row, word)), None)
    if row is None:
        ended = await expire(conn, word.at_ns, subject.key)
        asked = await _ask(conn, subject, named, word, word.at_ns + within_ns)
        return replace(asked, alerts=[*ended, *asked.alerts])
    question = ReleaseRequest(row["release_asker"], row["release_until_ns"])
    if row["release_asked_by"] == word.user_id:
        raise SecondPersonRequired(question)
    lifted = await trading_states.unfreeze(conn, subject, causes, word, question.asker)
    said = f"{_name(subject)} is released: {question.asker} has asked, {word.actor} confirmed."
    return Release(lifted, None, [await _alert(conn, AlertKind.RELEASED, said, subject, word.actor)])


async def expire(conn: Connection, now_ns: int, key: str | None = None) -> list[RiskAlert]:
    """End the questions, or that of one key, that nobody has confirmed in time; tell after the commit."""
    alerts = []
    ended = await conn.execute(_EXPIRE.encode(), {"now": now_ns, "key": key})
    for row in await ended.fetchall():
        subject = StateTarget(Scope(row["scope"]), row["scope_id"])
        word = RiskAction(ACTOR, 0, "Nobody has confirmed it in time.", at_ns=now_ns)
        await trading_states.record(
            conn, RecordEvent.RELEASE_EXPIRED, subject, word, {"asked_by": row["asker"]}
        )
        said = f"{_name(subject)} stays stopped: nobody has confirmed what {row['asker']} asked."
        alerts.append(await _alert(conn, AlertKind.RELEASE_EXPIRED, said, subject, ACTOR))
    return alerts


def _is_open(row: DictRow, word: RiskAction) -> bool:
    return row["release_asked_by"] is not None and row["release_until_ns"] > word.at_ns


async def _ask(
    conn: Connection, subject: StateTarget, causes: list[str], word: RiskAction, until_ns: int
) -> Release:
    values = {
        "key": subject.key,
        "causes": causes,
        "user_id": word.user_id,
        "asker": word.actor,
        "reason": word.reason,
        "until": until_ns,
    }
    await conn.execute(_ASK, values)
    detail = {"until": rfc3339(until_ns)}
    await trading_states.record(conn, RecordEvent.RELEASE_ASKED, subject, word, detail)
    said = f"{word.actor} asks to release {_name(subject)}; another must confirm by {clock_time(until_ns)}."
    alert = await _alert(conn, AlertKind.RELEASE_ASKED, said, subject, word.actor, **detail)
    return Release([], ReleaseRequest(word.actor, until_ns), [alert])


async def _alert(
    conn: Connection, kind: AlertKind, said: str, subject: StateTarget, actor: str, **detail: str
) -> RiskAlert:
    alert = RiskAlert(kind, said, detail={"scope": subject.scope, "id": subject.scope_id, **detail})
    await risk_alerts.record(conn, [alert], actor)
    return alert


def _name(subject: StateTarget) -> str:
    return subject.scope_id or "Everything"
