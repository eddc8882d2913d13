"""Who may log on to the exchange: a member who knows the secret, from an address that is listened at."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from exchange.listener import a_free_port, listening_at
from tests.support.exchange_process import SESSIONS, Exchange

LISTEN = "0A"
"""The state of a listening socket in /proc/net/tcp."""


@pytest.fixture(scope="module")
def nse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path_factory.mktemp("nse"))
    exchange.connect("FIX.4.2")
    exchange.disconnect()
    yield exchange
    assert exchange.stop() == 0


def listened_at(pid: int) -> set[str]:
    """Addresses, as the kernel has them, at which a process takes TCP connections."""
    links = [str(file.readlink()) for file in Path(f"/proc/{pid}/fd").iterdir() if file.is_symlink()]
    inodes = {link.removeprefix("socket:[").removesuffix("]") for link in links if link.startswith("socket:")}
    rows = [line.split() for line in Path(f"/proc/{pid}/net/tcp").read_text().splitlines()[1:]]
    rows += [line.split() for line in Path(f"/proc/{pid}/net/tcp6").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[3] == LISTEN and row[9] in inodes}


def test_the_exchange_listens_on_loopback_alone(nse: Exchange) -> None:
    assert listened_at(nse.process.pid) == {f"0100007F:{nse.settings.port('fix'):04X}"}
    others = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for address in [address for address in others if "." in address]:
        with pytest.raises(OSError):
            socket.create_connection((address, nse.settings.port("fix")), 2).close()


@pytest.mark.parametrize("begin", SESSIONS)
@pytest.mark.parametrize("key", [None, "guessed", "0" * 64])
def test_a_logon_without_the_secret_is_refused_and_takes_no_order(
    nse: Exchange, begin: str, key: str | None
) -> None:
    stranger = nse.called(begin)
    stranger.send_logon(key)
    said: list[dict[int, str]] = []
    with pytest.raises(AssertionError, match="hung up"):
        while True:
            said.append(stranger.receive())
    nse.disconnect()
    assert "A" not in {message[35] for message in said}
    # The member's own numbers are where they were.
    nse.next_out[begin] -= 1
    nse.connect(begin)
    nse.disconnect()


def test_a_logon_that_was_heard_is_no_use_again(nse: Exchange) -> None:
    """Its proof is of its sequence number."""
    member = nse.called("FIX.4.2")
    heard = member.send_logon(nse.settings.fix_key)
    member.expect("A")
    nse.disconnect()
    with socket.create_connection(("127.0.0.1", nse.settings.port("fix")), 5) as stranger:
        stranger.sendall(heard)
        stranger.settimeout(10)
        answer = b""
        while chunk := stranger.recv(65536):
            answer += chunk
    assert b"\x0135=A\x01" not in answer


def test_an_address_that_is_taken_is_said_in_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with (
            pytest.raises(SystemExit, match=f"127.0.0.1:{port} cannot be listened at"),
            listening_at("127.0.0.1", port),
        ):
            pass


def test_whatever_listens_elsewhere_all_the_same_is_found() -> None:
    with pytest.raises(SystemExit, match="alone and is listened for at none"), listening_at("127.0.0.1", 0):
        pass
    with listening_at("127.0.0.1", port := a_free_port()):
        opened = socket.create_server(("", 0))
    with opened:
        assert opened.getsockname() == ("127.0.0.1", port)
