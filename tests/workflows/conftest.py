"""Workflows in both of the SDK's runners: production's, and the sandbox that forbids what is not fixed."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from redis.asyncio import Redis
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner

from config.settings import Settings
from storage.database import Database
from tests.support.stories import Stories, exchange_listed
from workflow_api.payloads import DATA_CONVERTER

RUNNERS = {"production": UnsandboxedWorkflowRunner(), "sandbox": SandboxedWorkflowRunner()}


@pytest.fixture(params=RUNNERS.values(), ids=list(RUNNERS))
def runner(request: pytest.FixtureRequest) -> WorkflowRunner:
    chosen: WorkflowRunner = request.param
    return chosen


@pytest_asyncio.fixture(scope="module")
async def temporal(servers: Settings) -> Client:
    return await Client.connect(
        servers.temporal_target, namespace=servers.temporal_namespace, data_converter=DATA_CONVERTER
    )


@pytest_asyncio.fixture(scope="module")
async def listed(database: Database) -> AsyncIterator[None]:
    async with exchange_listed(database):
        yield


@pytest.fixture
def stories(database: Database, redis: Redis, temporal: Client, listed: None) -> Stories:
    return Stories(database, redis, temporal)
