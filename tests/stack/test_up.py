"""`hundi up` as people meet it: started, stopped, refused, a server dying under it."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from config.settings import Settings
from stack import ports
from stack.supervision import Supervisor

SECONDS = 60


def hundi(settings: Settings, *arguments: str) -> "subprocess.Popen[str]":
    environment = os.environ | {
        "HUNDI_DATA_DIR": str(settings.data_dir),
        "HUNDI_PORT_OFFSET": str(settings.port_offset),
    }
    return subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


def until_up(process: "subprocess.Popen[str]") -> None:
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if line.strip() == "hundi is up":
            return
    pytest.fail("never up:\n" + "".join(lines))


def refusal(settings: Settings) -> str:
    """The one sentence with which `hundi up` refuses."""
    process = hundi(settings, "up", "--servers")
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 1
    assert "Traceback" not in said
    return said.strip().splitlines()[-1]


def stop(process: "subprocess.Popen[str]") -> str:
    """What it said since it is up."""
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert said.strip().splitlines()[-1] == "stopped"
    return said


def test_ctrl_c_stops_everything_and_the_next_start_continues_with_the_data(fresh_settings: Settings) -> None:
    first = hundi(fresh_settings, "up", "--servers")
    until_up(first)
    with psycopg.connect(fresh_settings.postgres_dsn) as conn:
        conn.execute("UPDATE users SET full_name = 'Kept' WHERE client_id = 'DEMO0001'")
    stop(first)
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(fresh_settings.postgres_dsn)

    second = hundi(fresh_settings, "up", "--servers")
    until_up(second)
    with psycopg.connect(fresh_settings.postgres_dsn) as conn:
        names = conn.execute("SELECT full_name FROM users WHERE client_id = 'DEMO0001'").fetchall()
        demo_clients = conn.execute("SELECT count(*) FROM users WHERE client_id LIKE 'DEMO%'").fetchone()
        unbalanced = conn.execute("SELECT sum(amount) FROM ledger_postings").fetchone()
    stop(second)
    assert names == [("Kept",)]
    assert demo_clients == (100,)
    assert unbalanced == (0,)


def test_a_server_that_dies_is_restarted(fresh_settings: Settings) -> None:
    process = hundi(fresh_settings, "up", "--servers")
    until_up(process)
    supervisor = Supervisor(fresh_settings.data_dir, [])
    died = supervisor.pid("valkey")
    os.kill(died, signal.SIGKILL)
    deadline = time.monotonic() + SECONDS
    while supervisor.pid("valkey") in {0, died}:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert process.stdout is not None
    assert "valkey died and was restarted" in next(line for line in process.stdout if "valkey" in line)
    stop(process)


def test_a_second_up_says_who_is_running_and_hundi_stop_stops_it(fresh_settings: Settings) -> None:
    process = hundi(fresh_settings, "up", "--servers")
    until_up(process)
    assert f"already running on {fresh_settings.data_dir} (pid {process.pid})" in refusal(fresh_settings)
    stopper = hundi(fresh_settings, "stop")
    assert stopper.communicate(timeout=SECONDS)[0].strip() == "stopped"
    assert process.wait(SECONDS) == 0


@pytest.mark.parametrize("supervisor_too", [False, True])
def test_children_do_not_outlive_a_killed_up(fresh_settings: Settings, supervisor_too: bool) -> None:
    killed = hundi(fresh_settings, "up", "--servers")
    until_up(killed)
    if supervisor_too:
        os.kill(int((fresh_settings.data_dir / "supervisord.pid").read_text()), signal.SIGKILL)
    killed.kill()
    killed.wait()
    deadline = time.monotonic() + SECONDS
    while not all(ports.is_free("127.0.0.1", port) for port in ports.ports(fresh_settings)):
        assert time.monotonic() < deadline, "something still holds a port"
        time.sleep(0.1)


def test_a_port_in_use_names_the_port_its_reader_and_the_variable(fresh_settings: Settings) -> None:
    with socket.socket() as squatter:
        squatter.bind(("127.0.0.1", fresh_settings.port("redis")))
        squatter.listen()
        said = refusal(fresh_settings)
    assert f"port {fresh_settings.port('redis')} is in use and Valkey wants it" in said
    assert "HUNDI_REDIS_PORT" in said


@pytest.mark.parametrize("file", ["VERSION", "postgres/PG_VERSION"])
def test_data_of_another_version_is_refused(fresh_settings: Settings, file: str) -> None:
    version = fresh_settings.data_dir / file
    version.parent.mkdir(exist_ok=True)
    version.write_text("9\n")
    said = refusal(fresh_settings)
    assert "of version 9, this Hundi reads version" in said
    assert "HUNDI_DATA_DIR" in said


def test_a_data_directory_that_cannot_be_made_is_refused(fresh_settings: Settings) -> None:
    blocked: Path = fresh_settings.data_dir / "file"
    blocked.write_text("not a directory")
    assert "cannot be made" in refusal(fresh_settings.model_copy(update={"data_dir": blocked / "data"}))
