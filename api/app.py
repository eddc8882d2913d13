"""The application: routes over a database, a Redis and an intake that the process hands in."""

import re
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from temporalio.client import Client

from api import market, orders, portfolio, problems, session
from config.settings import Settings
from storage.database import open_database
from storage.instruments import load_instruments
from storage.intake import Intake
from storage.redis_client import open_redis

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def create_app(settings: Settings) -> FastAPI:
    """The API of these settings; connections open when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_database(settings.postgres_dsn, application="api") as database,
            open_redis(settings.redis_dsn) as redis,
        ):
            app.state.settings = settings
            app.state.database = database
            app.state.instruments = await load_instruments(database)
            app.state.intake = Intake(database, redis)
            # Lazy: orders are acknowledged even while Temporal is away; only cancels need it.
            app.state.temporal = await Client.connect(
                settings.temporal_target, namespace=settings.temporal_namespace, lazy=True
            )
            yield

    app = FastAPI(title="Hundi", version="0.1.0", lifespan=lifespan)
    for routes in (session, orders, portfolio, market):
        app.include_router(routes.router)
    problems.install(app)
    app.middleware("http")(_traced)
    return app


async def _traced(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    """Every request has a W3C trace context, the client's or a new one; its id is in every answer."""
    told = request.headers.get("traceparent", "")
    if not _TRACEPARENT.fullmatch(told):
        told = f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
    request.state.traceparent = told
    response = await call_next(request)
    response.headers["X-Trace-Id"] = told.split("-")[1]
    return response
