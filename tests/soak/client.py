"""A client of the soak: signed in over HTTP, listening on the stream, keeping what it was answered.

It believes `order_update` and nothing else: what a fill or a cancel has given it, it uses at once. Several
requests of one client may be under way; each order is a `Story` that its updates carry on.
"""

import asyncio
import json
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import aiohttp
import httpx

from domain.orders import OrderStatus
from tests.soak.journal import CancelAnswer, Journal
from tests.support.clients import Request, an_order, sign_in
from tests.support.market import Market
from tests.support.stream import STREAM

ANSWER_SECONDS = 30.0
TRIES = 20
FILLS = frozenset({"FILL", "PARTIAL_FILL"})
OWN = frozenset({"HOLDINGS_INSUFFICIENT", "MARGIN_INSUFFICIENT"})


class Silent(Exception):
    """Nothing was heard of an order in time."""


@dataclass
class Story:
    """One order as its updates have it."""

    order_id: str = ""
    status: str = ""
    reject_code: str = ""
    fills: list[int] = field(default_factory=list)
    """Quantities, as they were heard."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def is_final(self) -> bool:
        return bool(self.status) and OrderStatus(self.status).is_final

    @property
    def filled(self) -> int:
        return sum(self.fills)

    async def until(self, reached: Callable[["Story"], object], within: float = ANSWER_SECONDS) -> None:
        """Raises Silent."""
        deadline = time.monotonic() + within
        while not reached(self):
            self.heard.clear()
            try:
                async with asyncio.timeout(deadline - time.monotonic()):
                    await self.heard.wait()
            except TimeoutError:
                raise Silent(f"order {self.order_id} is {self.status or 'acknowledged'}") from None

    async def until_more_is_filled(self, than: int) -> None:
        """Or the order is final."""
        await self.until(lambda seen: seen.filled > than or seen.is_final)


@dataclass
class Client:
    client_id: str
    http: httpx.AsyncClient
    journal: Journal
    stories: defaultdict[str, Story] = field(default_factory=lambda: defaultdict(Story))
    touched_at: float = 0.0
    """When the risk desk last laid a hand on the account, or took it off."""
    frozen: bool = False
    seq: int | None = None
    """The last update that was heard."""
    listening: asyncio.Event = field(default_factory=asyncio.Event)

    def left_alone_since(self, began: float) -> bool:
        """No act of the desk can explain what happened since."""
        return not self.frozen and self.touched_at < began

    async def place(self, **terms: Any) -> Story | None:
        """The acknowledged order; None when it was refused at once. Unknown is not no: the key is kept."""
        request = Request(self.client_id, an_order(**terms))
        self.journal.requests.append(request)
        for _ in range(TRIES):
            answer = await self._ask("POST", "/api/v1/orders", json=request.body)
            if answer is not None and answer.status_code == HTTPStatus.ACCEPTED:
                request.acknowledged.append(answer.json()["order_id"])
                story = self.stories[request.order_id]
                story.order_id = request.order_id
                return story
            if answer is not None and answer.status_code < HTTPStatus.INTERNAL_SERVER_ERROR:
                self.journal.refusals[code_of(answer)] += 1
                return None
            await asyncio.sleep(0.5)
        raise Silent(f"no answer to an order of {self.client_id}")

    async def would_refuse(self, **terms: Any) -> set[str]:
        """Codes of a dry run; empty when it is not answered."""
        answer = await self._ask("POST", "/api/v1/orders?dry_run=true", json=an_order(**terms))
        if answer is None or answer.status_code != HTTPStatus.OK:
            return set()
        return {failure["code"] for failure in answer.json()["failures"]}

    async def change(self, order_id: str, **terms: Any) -> str:
        """ACCEPTED, or the code of the refusal."""
        answer = await self._ask("PUT", f"/api/v1/orders/{order_id}", json=terms)
        code = "UNREACHABLE" if answer is None else code_of(answer) or "ACCEPTED"
        self.journal.changes[code] += 1
        return code

    async def cancel(self, order_id: str) -> bool:
        """Whether it was answered at all."""
        began = time.perf_counter()
        answer = await self._ask("DELETE", f"/api/v1/orders/{order_id}")
        if answer is None:
            return False
        seconds = time.perf_counter() - began
        said = CancelAnswer(self.client_id, order_id, answer.status_code, code_of(answer), seconds)
        self.journal.cancels.append(said)
        return True

    async def get(self, path: str, **query: str) -> Any:
        """Raises httpx.HTTPError."""
        return (await self.http.get(path, params=query)).raise_for_status().json()

    async def _ask(self, method: str, path: str, **body: Any) -> httpx.Response | None:
        try:
            return await self.http.request(method, path, **body)
        except httpx.TransportError:
            self.journal.unreachable += 1
            return None

    async def listen(self, url: str, web: aiohttp.ClientSession) -> None:
        """For ever: comes back by itself and resumes after its cursor."""
        token = self.http.headers["Authorization"].removeprefix("Bearer ")
        while True:
            try:
                async with web.ws_connect(f"{url}{STREAM}/ws") as socket:
                    cursor = {} if self.seq is None else {"after_seq": self.seq}
                    await socket.send_json({"action": "auth", "token": token, **cursor})
                    async for message in socket:
                        self._hear(json.loads(message.data))
            except (aiohttp.ClientError, OSError):
                pass
            await asyncio.sleep(0.5)

    def _hear(self, frame: dict[str, Any]) -> None:
        if frame["type"] == "session":
            self.seq = frame["seq"] if self.seq is None else self.seq
            self.listening.set()
        if frame["type"] != "order_update":
            return
        self.seq = frame["seq"]
        story = self.stories[frame["order_id"]]
        story.status = frame["status"] or story.status
        story.reject_code = frame.get("reject_code") or story.reject_code
        if frame["event"] in FILLS:
            story.fills.append(frame["last_quantity"])
            self.journal.fills += 1
        story.heard.set()


def code_of(answer: httpx.Response) -> str:
    """Why not; empty where it is a yes."""
    return str(answer.json().get("code", "")) if answer.is_error else ""


@asynccontextmanager
async def signed_in(market: Market, client_id: str, journal: Journal) -> AsyncIterator[Client]:
    """Signed in and listening until the context is left."""
    limits = httpx.Limits(max_connections=20)
    async with (
        httpx.AsyncClient(base_url=market.api_url, timeout=20, limits=limits) as http,
        aiohttp.ClientSession() as web,
    ):
        await sign_in(http, client_id)
        client = Client(client_id, http, journal)
        listening = asyncio.create_task(client.listen(market.stream_url, web))
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                await client.listening.wait()
            yield client
        finally:
            listening.cancel()
