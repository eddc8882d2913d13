"""One gateway process for the tests of this directory, on the servers of the run."""

from collections.abc import Iterator

import pytest

from config.settings import Settings
from tests.support.stream import GatewayProcess


@pytest.fixture(scope="session")
def gateway(servers: Settings) -> Iterator[GatewayProcess]:
    process = GatewayProcess(servers)
    process.start()
    yield process
    process.stop()
