"""Tasks beside a context are over when it is left, whatever they do with a cancellation."""

import asyncio

import pytest

from bus import background
from bus.background import end, running


async def losing(cancellations: int) -> None:
    """Goes on for ever, but loses some cancellations first, as asyncio.wait_for may."""
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if not cancellations:
                raise
            cancellations -= 1


@pytest.fixture(autouse=True)
def _in_haste(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(background, "AGAIN_SECONDS", 0.01)


@pytest.mark.parametrize("cancellations", [0, 1, 3])
async def test_a_task_that_loses_a_cancellation_is_over_all_the_same(cancellations: int) -> None:
    async with asyncio.timeout(10), running(losing(cancellations), "a task") as task:
        await asyncio.sleep(0)
    assert task.cancelled()


async def test_several_end_together_and_what_one_died_of_is_not_raised() -> None:
    async def dying() -> None:
        raise ValueError("a bug")

    tasks = [asyncio.create_task(work) for work in (losing(2), dying(), losing(0))]
    await asyncio.sleep(0)
    async with asyncio.timeout(10):
        await end(*tasks)
    assert [task.cancelled() for task in tasks] == [True, False, True]
    assert isinstance(tasks[1].exception(), ValueError)


async def test_an_error_that_a_task_died_of_is_raised_when_the_context_is_left() -> None:
    async def dying() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        async with running(dying(), "a task"):
            await asyncio.sleep(0)
