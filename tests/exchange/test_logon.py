"""Who may log on to the exchange: a member who knows the secret, from an address that is listened at."""

import socket
import subprocess
from collections.abc import Iterator

import pytest

from exchange.fix.listener import a_free_port, listening_at
from tests.support.exchange_process import SESSIONS, Exchange
from tests.support.sockets import listened_at

LOGON, LOGOUT = "A", "5"


pytestmark = pytest.mark.waits


@pytest.fixture(scope="module")
def nse(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    exchange = Exchange(tmp_path_factory.mktemp("nse"))
    exchange.connect("FIX.4.2")
    exchange.disconnect()
    yield exchange
    assert exchange.stop() == 0


def test_the_exchange_listens_on_loopback_alone(nse: Exchange) -> None:
    assert listened_at(nse.process.pid) == {f"0100007F:{nse.settings.port('fix'):04X}"}
    others = subprocess.run(["hostname", "-I"], capture_output=True, text=True, check=False).stdout.split()
    for address in [address for address in others if "." in address]:
        with pytest.raises(OSError):
            socket.create_connection((address, nse.settings.port("fix")), 2).close()


def answer_to_logon(nse: Exchange, begin: str, key: str | None) -> tuple[bytes, dict[int, str]]:
    """What was sent, and the answer; asked again while the connection before is not yet over."""
    number = nse.next_out[begin]
    while True:
        client = nse.called(begin)
        sent = client.send_logon(key)
        try:
            return sent, client.receive()
        except AssertionError:
            nse.next_out[begin] = client.next_out = number
        finally:
            nse.disconnect()


@pytest.mark.parametrize("begin", SESSIONS)
@pytest.mark.parametrize("key", [None, "guessed", "0" * 64])
def test_a_logon_without_the_secret_is_refused_and_changes_nothing(
    nse: Exchange, begin: str, key: str | None
) -> None:
    number = nse.next_out[begin]
    _, answer = answer_to_logon(nse, begin, key)
    assert answer[35] == LOGOUT and "the credentials of the logon are not valid" in answer[58]
    # The member's own numbers are where they were.
    nse.next_out[begin] = number
    assert answer_to_logon(nse, begin, nse.settings.fix_key)[1][35] == LOGON


def test_a_logon_that_was_heard_is_no_use_again(nse: Exchange) -> None:
    """Its proof is of its sequence number."""
    heard, _ = answer_to_logon(nse, "FIX.4.2", nse.settings.fix_key)
    answer = b""
    while not answer:
        with socket.create_connection(("127.0.0.1", nse.settings.port("fix")), 5) as stranger:
            stranger.settimeout(10)
            stranger.sendall(heard)
            answer = stranger.recv(65536)
    assert b"\x0135=5\x01" in answer and b"MsgSeqNum too low" in answer


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
