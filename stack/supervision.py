"""supervisord over our processes: its configuration, its life, and its XML-RPC on a unix socket.

supervisord starts, restarts and reaps; the order, the health and the words are ours. Invariant: the
processes live no longer than supervisord, and supervisord no longer than the process that opened it
(on Linux the kernel tells them; elsewhere the next `hundi up` stops the supervisord it finds).
Called by `hundi up` and the test fixtures.
"""

import hashlib
import http.client
import os
import resource
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import xmlrpc.client
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from supervisor.xmlrpc import SupervisorTransport

from config.settings import Settings
from stack.errors import StackError
from stack.last_words import last_words, reason
from stack.processes import Process

STOPPED = {"STOPPED", "EXITED", "FATAL"}
ATTEMPTS = 3
"""Starts in a row after which a process that dies is given up."""
GONE = (OSError, http.client.HTTPException)
"""What a call raises when supervisord itself is away."""
_RPC_ERRORS = (*GONE, xmlrpc.client.Error)


class Supervisor:
    """The RPC of one running supervisord."""

    def __init__(self, directory: Path, processes: list[Process], *, restart: bool = True) -> None:
        self.directory = directory
        self.dead = {"FATAL"} if restart else STOPPED
        self.processes = {process.name: process for process in processes}
        self._rpc = _rpc(directory)

    def start(self, name: str) -> None:
        """Start a process; one that already runs is left alone."""
        with suppress(xmlrpc.client.Fault):
            self._rpc.supervisor.startProcess(name, False)

    def stop(self, *names: str) -> None:
        """Ask the processes to stop, all at once, and wait until they have."""
        for name in names:
            with suppress(xmlrpc.client.Fault):
                self._rpc.supervisor.stopProcess(name, False)
        while any(self.state(name) not in STOPPED for name in names):
            time.sleep(0.05)

    def state(self, name: str) -> str:
        """supervisord's word: STOPPED, STARTING, RUNNING, BACKOFF, STOPPING, EXITED, FATAL."""
        return str(self._rpc.supervisor.getProcessInfo(name)["statename"])

    def pid(self, name: str) -> int:
        """0 when it does not run."""
        return int(self._rpc.supervisor.getProcessInfo(name)["pid"])

    def pids(self) -> dict[str, int]:
        return {row["name"]: row["pid"] for row in self._rpc.supervisor.getAllProcessInfo() if row["pid"]}

    def is_healthy(self, name: str) -> bool:
        pid = self.pid(name)
        return bool(pid) and self.processes[name].is_healthy(pid)

    def wait_healthy(self, name: str, timeout: float = 60) -> None:
        """Return once the process is healthy; raises StackError when it gives up or takes too long."""
        deadline = time.monotonic() + timeout
        pids: set[int] = set()
        while not self.is_healthy(name):
            pids.add(self.pid(name))
            if self.state(name) in self.dead or len(pids - {0}) > ATTEMPTS:
                raise StackError(f"{name} does not start: {self.last_words(name)}")
            if time.monotonic() > deadline:
                raise StackError(f"{name} is not healthy after {timeout:.0f} s: {self.last_words(name)}")
            time.sleep(0.05)

    def last_words(self, name: str) -> str:
        """The last error in a process's log and where to read the rest."""
        return f"{last_words(self._log(name))} (see {self._log(name)})"

    def reason(self, name: str) -> str:
        """Why the process's life before this one ended, and where to read the rest."""
        return f"{reason(self._log(name), self._log('supervisord'), name)} (see {self._log(name)})"

    def _log(self, name: str) -> Path:
        return self.directory / "logs" / f"{name}.log"

    def waves(self) -> dict[int, list[str]]:
        """Names by wave, in the order of starting."""
        numbers = sorted({process.wave for process in self.processes.values()})
        return {n: [p.name for p in self.processes.values() if p.wave == n] for n in numbers}

    def given_up(self) -> list[str]:
        """Processes that died too often in a row for supervisord."""
        rows = self._rpc.supervisor.getAllProcessInfo()
        return [row["name"] for row in rows if row["statename"] == "FATAL"]


@contextmanager
def supervised(
    settings: Settings, directory: Path, processes: list[Process], *, restart: bool = True
) -> Iterator[Supervisor]:
    """A supervisord with these processes, none started yet. On exit the waves stop in reverse.

    `restart=False` leaves a process that dies dead, for tests that restart it themselves.
    """
    stop_leftovers(directory)
    config, stderr = directory / "supervisord.conf", directory / "logs" / "supervisord.stderr"
    for file in (config, stderr):
        file.touch(mode=0o600)
    config.write_text(_config(directory, processes, restart))
    program = [sys.executable, "-m", "supervisor.supervisord", "-n", "-c", str(config)]
    daemon = subprocess.Popen(
        [*_ending_with_parent("TERM"), *program],
        stdout=subprocess.DEVNULL,
        stderr=stderr.open("w"),
        # Ctrl-C is for us alone: we stop the processes in order.
        start_new_session=True,
        umask=0o077,
        env={
            **os.environ,
            # Of root's own, where they become an ordinary user's processes, they could not read anything.
            **({"HOME": str(directory)} if os.geteuid() == 0 else {}),
            "HUNDI_DATA_DIR": str(directory),
            "HUNDI_PORT_OFFSET": str(settings.port_offset),
        },
    )
    supervisor = Supervisor(directory, processes, restart=restart)
    try:
        _wait_for_rpc(directory, daemon)
        yield supervisor
    finally:
        with suppress(*_RPC_ERRORS):
            for names in reversed(supervisor.waves().values()):
                supervisor.stop(*names)
        daemon.terminate()
        daemon.wait()
        _socket(directory).unlink(missing_ok=True)


def stop_leftovers(directory: Path) -> bool:
    """Stop a supervisord that outlived its `hundi up` and wait until it is gone; True when there was one."""
    found = False
    while True:
        try:
            pid = int(_rpc(directory).supervisor.getPID())
        except xmlrpc.client.Fault:
            found = True  # It is on its way down already.
        except GONE:
            return found
        else:
            if not found:
                os.kill(pid, signal.SIGTERM)
            found = True
        time.sleep(0.1)


def _config(directory: Path, processes: list[Process], restart: bool) -> str:
    logs = directory / "logs"
    hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    files = 65536 if hard_limit == resource.RLIM_INFINITY else min(hard_limit, 65536)
    head: dict[str, dict[str, Any]] = {
        "supervisord": {
            "logfile": logs / "supervisord.log",
            "pidfile": directory / "supervisord.pid",
            "childlogdir": logs,
            "silent": "true",
            "minfds": files,
            **({"user": "root"} if os.geteuid() == 0 else {}),
        },
        "unix_http_server": {"file": _socket(directory), "chmod": "0700"},
        "rpcinterface:supervisor": {
            "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
        },
    }
    programs = {f"program:{process.name}": _program(process, logs, restart) for process in processes}
    return "\n".join(_section(name, options) for name, options in (head | programs).items())


def _program(process: Process, logs: Path, restart: bool) -> dict[str, Any]:
    environment = ",".join(f'{name}="{value}"' for name, value in process.environment.items())
    return {
        "command": shlex.join([*_ending_with_parent(process.stop_signal), *process.command]),
        **({"environment": environment} if environment else {}),
        "priority": process.wave,
        "autostart": "false",
        "autorestart": str(restart).lower(),
        "startsecs": 1,
        "startretries": ATTEMPTS if restart else 0,
        "stopsignal": process.stop_signal,
        "stopwaitsecs": process.stop_seconds,
        "redirect_stderr": "true",
        "stdout_logfile": logs / f"{process.name}.log",
        "stdout_logfile_maxbytes": "20MB",
        "stdout_logfile_backups": 2,
    }


def _section(name: str, options: dict[str, Any]) -> str:
    lines = "".join(f"{option} = {str(value).replace('%', '%%')}\n" for option, value in options.items())
    return f"[{name}]\n{lines}"


def _socket(directory: Path) -> Path:
    """In the data directory, or in the temporary one where the path is too long for a unix socket."""
    socket = directory / "supervisor.sock"
    if len(str(socket)) < 90:
        return socket
    return Path(tempfile.gettempdir()) / f"hundi-{hashlib.sha256(str(socket).encode()).hexdigest()[:12]}.sock"


def _rpc(directory: Path) -> Any:
    transport = SupervisorTransport(None, None, f"unix://{_socket(directory)}")
    return xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)


def _wait_for_rpc(directory: Path, daemon: "subprocess.Popen[bytes]") -> None:
    while True:
        try:
            _rpc(directory).supervisor.getPID()
            return
        except _RPC_ERRORS:
            if daemon.poll() is not None:
                said = (directory / "logs" / "supervisord.stderr").read_text().strip()
                raise StackError(f"supervisord does not start: {said}") from None
            time.sleep(0.02)


def _ending_with_parent(stop_signal: str) -> list[str]:
    """Prefix of a command whose process gets the signal when its parent dies (Linux; else nothing)."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", stop_signal] if setpriv else []
