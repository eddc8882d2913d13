"""The application: routes over a database, a Redis and an intake that the process hands in."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus

from fastapi import Depends, FastAPI

from api import market, openapi, orders, pages, portfolio, portfolio_stream, problems, risk, session
from api.cross_origin import CrossOrigin
from api.listing import Listing
from api.refusals import Refusals
from api.tracing import FASTAPI_TELEMETRY, Tracing
from bus import wakeups
from bus.last_prices import LastPrices
from bus.redis_client import open_redis
from config.sessions import session_rules
from config.settings import Settings
from exchange.files import span_directory
from exchange.files.span_directory import SpanFiles
from pretrade.checks import PreTradeChecks
from pretrade.day_rules import DayRules
from storage.books.keeping import BookKeeping
from storage.cached_view import following
from storage.database import open_database
from storage.journals.intake import Intake
from storage.margin.derivatives import DerivativeMargins
from storage.margin.view import MarginView
from storage.market.instruments import load_instruments
from storage.market.phases import MarketPhases
from storage.orders.canceller import OrderCanceller
from storage.orders.slices import SlicedIntake
from storage.refused_requests import RefusedRequests, recording
from storage.risk.trading_states import TradingStates
from storage.update_refills import refilling
from workflow_api.connection import connect, connect_operations


def create_app(settings: Settings) -> FastAPI:
    """The API of these settings; connections open when it starts."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with (
            open_database(settings.postgres_dsn, application="api") as database,
            open_redis(settings.redis_dsn) as redis,
            refilling(redis, database),
            portfolio_stream.answering(redis, database),
            recording(refused_requests := RefusedRequests(database)),
            wakeups.listening(redis, wakeups.TRADING_STATES) as frozen,
            following(states := TradingStates(database), frozen),
            wakeups.listening(redis, wakeups.MARKET_STATUS, wakeups.PRICE_BANDS) as announced,
            following(phases := MarketPhases(database), announced),
            span_directory.following(spans := SpanFiles(settings.risk_files, settings.exchanges)),
        ):
            app.state.trading_states = states
            app.state.refused_requests = refused_requests
            app.state.redis = redis
            app.state.last_prices = LastPrices(redis)
            app.state.settings = settings
            app.state.database = database
            app.state.instruments = await load_instruments(database)
            day = DayRules(app.state.instruments.values())
            judging = (day, phases, LastPrices(redis), settings.intraday_margin_percent)
            app.state.judge = PreTradeChecks(app.state.instruments, *judging)
            view = MarginView(redis, database)
            app.state.portfolios = DerivativeMargins(view, app.state.instruments, spans)
            percent = settings.intraday_margin_percent
            app.state.keeping = BookKeeping(database, redis, app.state.portfolios, percent)
            app.state.session_rules = session_rules()
            app.state.listing = Listing(app.state.instruments, phases.present, session_rules())
            app.state.intake = Intake(database, redis)
            app.state.sliced_intake = SlicedIntake(database, app.state.intake)
            app.state.canceller = OrderCanceller(database, redis)
            # Lazy: orders are acknowledged and cancelled even while Temporal is away; only changes
            # and winding down need it.
            app.state.temporal = await connect(settings, "api", lazy=True)
            app.state.operations = await connect_operations(settings, "api", lazy=True)
            yield

    app = FastAPI(
        title="Hundi",
        version="0.1.0",
        summary="Orders on NSE and BSE: acknowledged when durable, refused with a reason.",
        lifespan=lifespan,
        # No way to a path of ours is built from a Host header.
        redirect_slashes=False,
        # Ours (api/pages.py) load nothing from elsewhere.
        docs_url=None,
        redoc_url=None,
        telemetry=FASTAPI_TELEMETRY,
        dependencies=[Depends(openapi.known_parameters)],
        responses=problems.documented(HTTPStatus.UNPROCESSABLE_ENTITY, HTTPStatus.INTERNAL_SERVER_ERROR),
    )
    for routes in (session, orders, portfolio, market, risk):
        app.include_router(routes.router)
    openapi.install(app)
    problems.install(app)
    pages.install(app)
    app.add_middleware(Refusals)
    if settings.cors_origins:
        app.add_middleware(CrossOrigin, origins=settings.cors_origins)
    app.add_middleware(Tracing)
    return app
