"""Two people's release under races and time: whatever comes at once, no stop is undone by one, or unseen."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from domain.time import NANOS
from domain.trading_states import Cause, Scope, TradingState
from storage.database import Database
from storage.risk import releases, trading_states
from storage.risk.releases import Release, SecondPersonRequired
from storage.risk.trading_states import Frozen, RiskAction, StateTarget
from tests.support.desk import A_WORD
from workers.market_watch import MarketWatch

WITHIN = 600 * NANOS
AT = time.time_ns() - 2 * WITHIN
"""The record takes nothing of a day that is closed."""
_segments = itertools.count(1)


def word(person: int, at_ns: int = AT) -> RiskAction:
    return RiskAction(f"RISK{person:02}", 7_800_000 + person, "it is mended", at_ns=at_ns)


@pytest.fixture
async def stopped(database: Database) -> AsyncIterator[StateTarget]:
    """A segment that nobody trades in, stopped."""
    subject = StateTarget(Scope.SEGMENT, f"XQ:{next(_segments)}")
    await freeze(database, subject)
    yield subject
    async with database.transaction() as conn:
        await trading_states.unfreeze(conn, subject, Cause, A_WORD)


async def freeze(database: Database, subject: StateTarget, cause: Cause = Cause.DESK) -> Frozen:
    async with database.transaction() as conn:
        return await trading_states.freeze(conn, subject, TradingState.HALTED, cause, A_WORD)


async def release(database: Database, subject: StateTarget, said: RiskAction) -> Release:
    async with database.transaction() as conn:
        return await releases.release(conn, subject, [Cause.DESK, Cause.LIMITS], said, WITHIN)


async def is_stopped(database: Database, subject: StateTarget) -> bool:
    return subject.scope_id in {row["scope_id"] for row in await trading_states.in_force(database)}


async def test_of_two_who_confirm_at_once_one_releases(database: Database, stopped: StateTarget) -> None:
    await release(database, stopped, word(1))
    done = await asyncio.gather(*(release(database, stopped, word(person)) for person in range(2, 8)))
    assert sorted(one.lifted for one in done) == [[]] * 5 + [[Cause.DESK]]
    assert all(one.asked is None for one in done)
    assert not await is_stopped(database, stopped)


async def test_of_many_who_ask_at_once_two_different_people_release(
    database: Database, stopped: StateTarget
) -> None:
    asks = (release(database, stopped, word(1 + number % 2)) for number in range(8))
    done = await asyncio.gather(*asks, return_exceptions=True)
    released = [one for one in done if isinstance(one, Release)]
    assert all(isinstance(one, Release | SecondPersonRequired) for one in done), done
    assert len([one for one in released if one.asked]) == 1
    assert len([one for one in released if one.lifted]) == 1


async def test_a_stop_at_the_same_time_as_the_confirmation_always_stands(
    database: Database, stopped: StateTarget
) -> None:
    """Before it, the release is void; after it, it is stopped again."""
    for _ in range(10):
        await freeze(database, stopped)
        await release(database, stopped, word(1))
        await asyncio.gather(release(database, stopped, word(2)), freeze(database, stopped))
        assert await is_stopped(database, stopped)


async def test_a_stop_for_another_cause_voids_the_release_too(
    database: Database, stopped: StateTarget
) -> None:
    await release(database, stopped, word(1))
    frozen = await freeze(database, stopped, Cause.CIRCUIT)
    assert [alert.kind for alert in frozen.alerts] == ["RELEASE_VOIDED"]
    again = await release(database, stopped, word(2))
    assert again.asked is not None and again.asked.asker == "RISK02"


@pytest.mark.parametrize("late", [WITHIN, WITHIN + 1])
async def test_who_confirms_too_late_asks_anew(database: Database, stopped: StateTarget, late: int) -> None:
    first = word(1)
    await release(database, stopped, first)
    done = await release(database, stopped, word(2, first.at_ns + late))
    assert done.lifted == [] and done.asked is not None
    assert (done.asked.asker, done.asked.until_ns) == ("RISK02", first.at_ns + late + WITHIN)
    assert [alert.kind for alert in done.alerts] == ["RELEASE_EXPIRED", "RELEASE_ASKED"]
    assert (await release(database, stopped, word(1, first.at_ns + late + 1))).lifted == [Cause.DESK]


async def test_the_last_moment_is_in_time_and_the_first_may_ask_anew_after_it(
    database: Database, stopped: StateTarget
) -> None:
    first = word(1)
    await release(database, stopped, first)
    with pytest.raises(SecondPersonRequired):
        await release(database, stopped, word(1, first.at_ns + WITHIN - 1))
    assert (await release(database, stopped, word(1, first.at_ns + WITHIN))).asked is not None
    late = first.at_ns + 2 * WITHIN - 1
    assert (await release(database, stopped, word(2, late))).lifted == [Cause.DESK]


async def test_what_nobody_confirms_runs_out_on_record_and_as_an_alert(
    database: Database, redis: Redis, stopped: StateTarget
) -> None:
    await release(database, stopped, word(1))
    watch = MarketWatch(database, redis, {}, [])
    for _ in range(2):
        await watch._expire_once()
    async with database.reading() as conn:
        found = await conn.execute(
            "SELECT COALESCE(detail->>'kind', event) AS what, actor FROM audit_log"
            " WHERE detail->>'id' = %s AND 'RELEASE_EXPIRED' IN (event, detail->>'kind') ORDER BY audit_id",
            (stopped.scope_id,),
        )
        told = [(row["what"], row["actor"]) for row in await found.fetchall()]
    assert told == [("RELEASE_EXPIRED", "operations")] * 2, "once on record, once as an alert"
    assert await is_stopped(database, stopped)


async def test_a_release_is_of_one_stop_alone(database: Database, stopped: StateTarget) -> None:
    other = StateTarget(Scope.SEGMENT, f"XQ:{next(_segments)}")
    await freeze(database, other)
    await release(database, stopped, word(1))
    assert (await release(database, other, word(2))).asked is not None
    assert (await release(database, stopped, word(2))).lifted == [Cause.DESK]
    assert await is_stopped(database, other)
    async with database.transaction() as conn:
        await trading_states.unfreeze(conn, other, Cause, A_WORD)
