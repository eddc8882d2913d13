"""The application over real servers, spoken to in this process."""

from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI

from api.app import create_app
from config.settings import Settings


@pytest.fixture(scope="module")
async def app(servers: Settings) -> AsyncIterator[FastAPI]:
    application = create_app(servers)
    async with application.router.lifespan_context(application):
        yield application


@pytest.fixture
async def http(app: FastAPI) -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(app=app, raise_app_exceptions=True)
    async with httpx.AsyncClient(transport=transport, base_url="http://hundi") as client:
        yield client
