"""What the API's process writes to its log: nothing that a stranger put there, and nothing secret."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from config.settings import Settings
from stack import probes
from tests.support.edge import until
from tests.support.market import environment

SECRET = "eyJhbGciOiJIUzI1NiJ9.c2VjcmV0.c2lnbmF0dXJl"
HALF = b"POST /api/v1/session HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{"


@dataclass
class Api:
    """The API's process, every trace of it logged."""

    settings: Settings
    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def url(self) -> str:
        return f"http://{self.settings.host}:{self.settings.port('api')}"

    def logged(self) -> str:
        """All of it, once the process has ended."""
        self.process.terminate()
        self.process.wait(20)
        return self.log.read_text()


@pytest.fixture
def api(servers: Settings, tmp_path: Path) -> Iterator[Api]:
    log = tmp_path / "api.log"
    with log.open("w") as to:
        process = subprocess.Popen(
            [sys.executable, "-c", "from workers.api import main; main()"],
            env=environment(servers) | {"HUNDI_TRACE_SAMPLE_RATIO": "1"},
            stdout=to,
            stderr=subprocess.STDOUT,
        )
    opened = Api(servers, process, log)
    until(lambda: probes.accepts(servers.host, servers.port("api")))
    yield opened
    process.kill()
    process.wait(20)


def test_neither_secrets_in_a_query_nor_a_request_that_breaks_off_are_logged(api: Api) -> None:
    """A token in a query was in the log with its span; a request that broke off was 8.6 KB of traceback."""
    for path in ("/api/v1/orders", "/api/v1/instruments", "/nowhere"):
        for name in ("token", "access_token", "password", "q"):
            httpx.get(f"{api.url}{path}", params={name: SECRET, "limit": 1})
    for _ in range(5):
        broken = socket.create_connection((api.settings.host, api.settings.port("api")))
        broken.sendall(HALF)
        time.sleep(0.1)
        broken.close()
    time.sleep(0.2)
    logged = api.logged()
    assert logged.count('"event": "span"') >= 12
    assert "REDACTED" in logged and SECRET not in logged
    assert "unforeseen" not in logged and "Traceback" not in logged and "ClientDisconnect" not in logged
