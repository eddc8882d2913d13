"""Wait for what must come true, instead of sleeping for what may."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")


@overload
async def eventually(ask: Callable[[], Awaitable[T]], *, within: float = 10.0, every: float = 0.05) -> T: ...
@overload
async def eventually(ask: Callable[[], T], *, within: float = 10.0, every: float = 0.05) -> T: ...
async def eventually(ask: Callable[[], Any], *, within: float = 10.0, every: float = 0.05) -> Any:
    """The first truthy answer of `ask` (plain or async); fails with its last answer after `within` seconds.

    An AssertionError raised by `ask` counts as "not yet".
    """
    deadline = time.monotonic() + within
    while True:
        try:
            answer = ask()
            result = await answer if inspect.isawaitable(answer) else answer
            last: object = result
            if result:
                return result
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {within} s; at last: {last!r}")
        await asyncio.sleep(every)
