"""One gateway process for the tests of this directory, on the servers of the run; its waits are short."""

from collections.abc import Iterator

import pytest

from config.settings import Settings
from stack import servers as server_commands
from stack.processes import server_processes
from stack.supervision import Supervisor, supervised
from tests.support.stream import GatewayProcess


@pytest.fixture(scope="session")
def gateway(servers: Settings) -> Iterator[GatewayProcess]:
    impatient = {"stream_heartbeat_seconds": 0.5, "stream_behind_seconds": 2.0}
    process = GatewayProcess(servers.model_copy(update=impatient))
    process.start()
    yield process
    process.stop()


@pytest.fixture
def added(servers: Settings) -> Iterator[GatewayProcess]:
    """A second gateway, at another port, that has seen nothing yet."""
    ours = servers.model_copy(update={"realtime_id": "realtime-1", "stream_port": servers.stream_port + 1})
    process = GatewayProcess(ours)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def own_valkey(fresh_settings: Settings) -> Iterator[tuple[Settings, Supervisor]]:
    """A Valkey that a test may kill."""
    directory = fresh_settings.data_dir
    (directory / "logs").mkdir()
    server_commands.prepare(directory)
    valkey = [p for p in server_processes(fresh_settings, directory) if p.name == "valkey"]
    with supervised(fresh_settings, directory, valkey, restart=False) as supervisor:
        supervisor.start("valkey")
        supervisor.wait_healthy("valkey")
        yield fresh_settings, supervisor
