"""Clients of the API: signed in, an order as its JSON body, and one who keeps record of every answer."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from uuid import uuid4

import httpx
from fastapi import FastAPI


async def sign_in(http: httpx.AsyncClient, client_id: str) -> None:
    """Every later request of `http` is this client's."""
    answer = await http.post("/api/v1/session", json={"client_id": client_id, "password": "demo"})
    assert answer.status_code == 200
    http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"


@asynccontextmanager
async def signed_in(app: FastAPI, client_id: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application in this process."""
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
        await sign_in(client, client_id)
        yield client


def an_order(**changes: Any) -> dict[str, Any]:
    """BUY 10 NSE:RELIANCE MARKET CNC DAY with a fresh key; a change to None leaves the member out."""
    body = {
        "instrument_id": "NSE:RELIANCE",
        "order_type": "MARKET",
        "transaction_type": "BUY",
        "quantity": 10,
        "product": "CNC",
        "validity": "DAY",
        "idempotency_key": str(uuid4()),
    }
    return {name: value for name, value in (body | changes).items() if value is not None}


def lower_band(api_url: str, instrument_id: str) -> str:
    """The lowest price today: a purchase at it rests."""
    found = httpx.get(f"{api_url}/api/v1/instruments", params={"q": instrument_id}).json()
    return str(found["instruments"][0]["lower_band"])


@dataclass
class Request:
    """One order as its client knows it: asked once or several times, with one key."""

    client_id: str
    body: dict[str, Any]
    acknowledged: list[str] = field(default_factory=list)
    """The order id of each 202."""
    replayed: bool = False
    """The last 202 said that it was the first answer again."""

    @property
    def order_id(self) -> str:
        return self.acknowledged[0]


@dataclass
class Client:
    """A client who asks, notes what was said, and asks again where nothing was: unknown is not no."""

    client_id: str
    http: httpx.Client
    requests: list[Request] = field(default_factory=list)

    def sign_in(self) -> None:
        answer = self.http.post("/api/v1/session", json={"client_id": self.client_id, "password": "demo"})
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def place(self, **changes: Any) -> Request:
        request = Request(self.client_id, an_order(**changes))
        self.requests.append(request)
        self.ask(request)
        return request

    def repeat_unanswered(self) -> list[Request]:
        """Ask again, each with its own key; all are answered now."""
        unanswered = [request for request in self.requests if not request.acknowledged]
        for request in unanswered:
            self.ask(request)
            assert request.acknowledged
        return unanswered

    def status(self, request: Request) -> str:
        return str(self.order(request)["status"])

    def order(self, request: Request) -> dict[str, Any]:
        """As the client sees it."""
        seen: dict[str, Any] = self.http.get(f"/api/v1/orders/{request.order_id}").json()
        return seen

    def ask(self, request: Request) -> None:
        """Once more if it was asked before."""
        try:
            answer = self.http.post("/api/v1/orders", json=request.body)
        except httpx.TransportError:
            return
        assert answer.status_code in (HTTPStatus.ACCEPTED, HTTPStatus.SERVICE_UNAVAILABLE), answer.text
        if answer.status_code == HTTPStatus.ACCEPTED:
            request.acknowledged.append(answer.json()["order_id"])
            request.replayed = "idempotent-replayed" in answer.headers
