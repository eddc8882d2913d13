"""Our own API's checks with one INSERT a request behind them: `python -m benchmarks.peers.insert PORT`.

Token, body, gates, tracing and answer are ours; the order is one row, its key unique, committed by itself in
one round trip from a pool of connections. No record, no place in the acknowledgement order, no wake-up.
"""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request

from api import problems
from api.body import read_body
from api.problems import refused
from api.requests import PlaceOrder
from api.session import ClientSession
from api.tracing import Tracing
from benchmarks.peers.serving import serve_peer
from config.settings import Settings, settings
from domain.orders import OrderStatus
from domain.time import rfc3339, trade_date
from domain.validation import terms_refusals
from storage.database import open_database
from storage.market.instruments import load_instruments
from telemetry.process import telemetry

POOL = 16
_TABLE = """
    CREATE TABLE IF NOT EXISTS peer_insert_orders (
        order_id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        user_id BIGINT NOT NULL REFERENCES users,
        key UUID NOT NULL,
        instrument_id VARCHAR(30) NOT NULL,
        order_type order_type NOT NULL,
        transaction_type side NOT NULL,
        product product NOT NULL,
        validity validity NOT NULL,
        quantity INT NOT NULL,
        price BIGINT,
        created_at_ns BIGINT NOT NULL,
        UNIQUE (user_id, key))
"""
_INSERT = """
    INSERT INTO peer_insert_orders (user_id, key, instrument_id, order_type, transaction_type, product,
                                    validity, quantity, price, created_at_ns)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s) RETURNING order_id
"""


def create_app(ours: Settings) -> FastAPI:
    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with open_database(ours.postgres_owner_dsn, size=POOL, application="peer-insert") as database:
            async with database.transaction() as conn:
                await conn.execute(_TABLE)
            app.state.settings, app.state.database = ours, database
            app.state.instruments = await load_instruments(database)
            yield

    app = FastAPI(lifespan=lifespan)
    app.post("/api/v1/orders", status_code=HTTPStatus.ACCEPTED)(place)
    problems.install(app)
    app.add_middleware(Tracing)
    return app


async def place(request: Request, session: ClientSession) -> dict[str, Any]:
    received_at_ns = time.time_ns()
    asked = await read_body(request, PlaceOrder)
    terms, state = asked.terms, request.app.state
    refusals = terms_refusals(terms, state.instruments.get(terms.instrument_id), trade_date(received_at_ns))
    if refusals:
        raise refused(refusals)
    row = (
        session.user_id,
        asked.idempotency_key,
        terms.instrument_id,
        terms.order_type,
        terms.side,
        terms.product,
        terms.validity,
        terms.quantity,
        terms.price,
        received_at_ns,
    )
    async with state.database.reading() as conn:
        inserted = await (await conn.execute(_INSERT, row)).fetchone()
    return {
        "order_id": str(inserted["order_id"]),
        "status": OrderStatus.PENDING_VALIDATION,
        "timestamp": rfc3339(received_at_ns),
    }


if __name__ == "__main__":
    with telemetry(settings(), "peer-insert"):
        serve_peer(create_app(settings()), settings(), "peer-insert")
