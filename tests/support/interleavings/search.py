"""Every order in which the steps of a scenario can happen, up to a depth: the shortest path to what breaks.

Breadth first, so that a fault's first path is its shortest. A state that was seen before is not followed
again, nor is one in which something is broken.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.support.interleavings.invariants import broken
from tests.support.interleavings.scenario import Step
from tests.support.interleavings.state import State
from tests.support.interleavings.world import Impossible, World


@dataclass(frozen=True)
class Fault:
    """What is broken, and the shortest path to it."""

    path: tuple[Step, ...]
    broken: str
    seconds: float
    """Until it was found."""

    def __str__(self) -> str:
        lines = [f"{number:3}. {step.sentence}" for number, step in enumerate(self.path, start=1)]
        last = f"     then {self.broken} (found in {self.seconds:.1f} s)"
        return "\n".join([*lines, last])


@dataclass
class Found:
    """What a search has seen; of faults that are broken alike by the same last step, the first."""

    steps: int = 0
    states: int = 0
    seconds: float = 0
    faults: dict[str, Fault] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n\n".join(str(fault) for fault in self.faults.values())


async def search(world: World, depth: int) -> Found:
    """All paths of up to `depth` steps after the scenario's first ones."""
    found, began = Found(), time.monotonic()
    start = await _start(world, world.scenario.first)
    seen = {world.meaning(start)}
    level: list[tuple[State, tuple[Step, ...]]] = [(start, ())]
    for _ in range(depth):
        following: list[tuple[State, tuple[Step, ...]]] = []
        for state, path in level:
            for step in world.possible(state):
                after, wrong = await _taken(world, state, step)
                if after is None and not wrong:
                    continue
                found.steps += 1
                for sentence in wrong[:1]:
                    fault = Fault((*path, step), sentence, time.monotonic() - began)
                    found.faults.setdefault(_kind(step, sentence), fault)
                if after is not None and not wrong and (meaning := world.meaning(after)) not in seen:
                    seen.add(meaning)
                    following.append((after, (*path, step)))
        level = following
    await world.close()
    found.states, found.seconds = len(seen), time.monotonic() - began
    return found


async def _start(world: World, first: Sequence[Step]) -> State:
    state = await world.beginning()
    for step in first:
        state = await world.take(state, step)
        assert not (wrong := broken(state, world.account, world.scenario)), (step.sentence, wrong)
    return state


async def _taken(world: World, state: State, step: Step) -> tuple[State | None, list[str]]:
    """The state after the step, None when there is none, and what is broken then."""
    try:
        after = await world.take(state, step)
    except Impossible:
        return None, []
    except Exception as error:
        return None, [f"{type(error).__name__}: {error}".splitlines()[0]]
    return after, broken(after, world.account, world.scenario)


def _kind(step: Step, sentence: str) -> str:
    words = "".join(" " if letter.isdigit() else letter for letter in sentence)
    return f"{step.verb} {step.how} {words}"
