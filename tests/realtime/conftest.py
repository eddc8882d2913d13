"""One gateway process for the tests of this directory, on the servers of the run; its waits are short."""

from collections.abc import Iterator

import pytest

from config.settings import Settings
from tests.support.stream import GatewayProcess


@pytest.fixture(scope="session")
def gateway(servers: Settings) -> Iterator[GatewayProcess]:
    impatient = {"stream_heartbeat_seconds": 0.5, "stream_behind_seconds": 2.0}
    process = GatewayProcess(servers.model_copy(update=impatient))
    process.start()
    yield process
    process.stop()
