"""What cannot be done is one sentence with exit code 1: no database, a port in use, a bad file."""

import gzip
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cli.main import app
from config.settings import Settings
from exchange.feed import FeedLine, feed_port
from stack.cluster import superuser_dsn
from tests.support.command_line import hundi, the_sentence


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["migrate"], "PostgreSQL does not answer: connection failed: connection to server at"),
        (["seed"], "PostgreSQL does not answer: connection failed: connection to server at"),
        (["reconcile"], "PostgreSQL does not answer: connection failed: connection to server at"),
        (["status"], "hundi is not running: Redis does not answer at 127.0.0.1:"),
        (["day"], "no market answers at http://127.0.0.1:"),
        (["demo"], "no market answers at http://127.0.0.1:"),
        (["fix", "261201000001000"], "the wire log has no message of order 261201000001000"),
        (["reconcile", "--day", "yesterday"], "yesterday is no date"),
        (["simulator", "LSE"], "'LSE' is none of the exchanges NSE, BSE"),
        (["ban-list", "/nowhere"], "/nowhere is not taken"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_is_not_there_is_named(fresh_settings: Settings, line: list[str], said: str) -> None:
    ended = hundi(fresh_settings, *line)
    assert the_sentence(ended).startswith(said)
    assert ended.returncode == 1


@pytest.mark.parametrize("line", [["seed"], ["reconcile"]])
def test_a_database_that_nobody_migrated_is_said(servers: Settings, line: list[str]) -> None:
    """On the same server, the database that every PostgreSQL has."""
    bare = superuser_dsn(servers).rpartition("/")[0] + "/postgres"
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("HUNDI_POSTGRES_URL", bare)
        patched.setenv("HUNDI_POSTGRES_OWNER_URL", bare)
        ended = hundi(servers, *line)
    assert "run `hundi migrate`" in the_sentence(ended)


@pytest.mark.parametrize("line", [["api"], ["realtime"]])
def test_a_port_in_use_is_said(fresh_settings: Settings, line: list[str]) -> None:
    port = fresh_settings.port("stream" if line == ["realtime"] else "api")
    with socket.socket() as squatter:
        squatter.bind((fresh_settings.host, port))
        squatter.listen()
        ended = hundi(fresh_settings, *line)
    assert f"{fresh_settings.host}:{port}: Address already in use" in the_sentence(ended)
    assert ended.returncode == 1


@pytest.mark.parametrize("line", [["simulator", "NSE"], ["distributor"]])
def test_a_feed_port_in_use_is_said(servers: Settings, line: list[str]) -> None:
    wanted = FeedLine.SNAPSHOT if line[0] == "simulator" else FeedLine.A
    with socket.socket(type=socket.SOCK_DGRAM) as squatter:
        squatter.bind((servers.host, feed_port(servers, "NSE", wanted)))
        ended = hundi(servers, *line)
    assert "a port that this process wants is in use" in the_sentence(ended)
    assert ended.returncode == 1


FLOW = b"34200.1,1,1,100,5850000,1\n"
TICKS = b"timestamp_ist,symbol,ltp,cum_volume\n2026-12-01 09:15:00,TCS,ten,5\n"
BAD_FILES = {
    "missing": None,
    "not gzipped": b"34200.1,1,1,100,5850000,1\n",
    "cut off": gzip.compress(FLOW * 1000)[:-20],
    "empty": gzip.compress(b""),
    "of other columns": gzip.compress(b"a,b,c\n1,2,3\n"),
    "not text": gzip.compress(b"\xff\xfe\x00\x01\n"),
}


@pytest.mark.parametrize("kind", ["orderflow", "ticks"])
@pytest.mark.parametrize("content", BAD_FILES.values(), ids=BAD_FILES)
def test_a_replay_file_that_is_none_is_named(tmp_path: Path, kind: str, content: bytes | None) -> None:
    file = tmp_path / "recorded.csv.gz"
    if content is not None:
        file.write_bytes(content)
    ended = CliRunner().invoke(app, ["replay", kind, str(file)])
    assert ended.stderr.startswith(f"hundi: {file} ")
    assert (ended.exit_code, ended.stderr.count("\n")) == (1, 1)


def test_a_replay_to_no_exchange_or_instrument_is_said(fresh_settings: Settings, tmp_path: Path) -> None:
    file = tmp_path / "recorded.csv.gz"
    file.write_bytes(gzip.compress(FLOW))
    away = the_sentence(hundi(fresh_settings, "replay", "orderflow", str(file)))
    assert away.startswith("no exchange answers at ")
    unknown = hundi(fresh_settings, "replay", "orderflow", str(file), "--instrument", "NSE:NOSUCH")
    assert the_sentence(unknown) == "NSE:NOSUCH is not in the instrument master"
    strange = hundi(fresh_settings, "replay", "ticks", str(file), "--exchange", "LSE")
    assert the_sentence(strange) == "'LSE' is none of the exchanges NSE, BSE"
