"""docker-compose.yml beside what it must agree with: the process table, the settings, the embedded servers.

That it starts and trades is shown by `make compose-test`, which needs Docker.
"""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from redis import Redis

from bus.health import Health
from config.settings import Settings
from stack.processes import platform_processes
from stack.servers import TEMPORAL_LIMITS, TEMPORAL_SEARCH_ATTRIBUTES, VALKEY_USERS
from tests.support.command_line import environment_of

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name for name, service in SERVICES.items() if "build" in service}
SECRETS = {
    "HUNDI_POSTGRES_URL",
    "HUNDI_POSTGRES_OWNER_URL",
    "HUNDI_REDIS_URL",
    "HUNDI_JWT_SECRET",
    "HUNDI_FIX_SECRET",
}
BOOKS = {"HUNDI_POSTGRES_URL", "HUNDI_REDIS_URL"}
NEEDED = {
    "migrate": {"HUNDI_POSTGRES_OWNER_URL"},
    "seed": {"HUNDI_POSTGRES_OWNER_URL"},
    "api": BOOKS | {"HUNDI_JWT_SECRET"},
    "order-worker-0": BOOKS,
    "order-worker-1": BOOKS,
    "operations": BOOKS,
    "gateway": BOOKS | {"HUNDI_FIX_SECRET"},
    "distributor": BOOKS,
    "realtime-0": {"HUNDI_REDIS_URL", "HUNDI_JWT_SECRET"},
    "simulator-nse": {"HUNDI_FIX_SECRET"},
    "simulator-bse": {"HUNDI_FIX_SECRET"},
    "demo": set(),
}
"""The secrets of each process: what it would break without, and nothing else."""


def test_every_process_of_the_stack_is_a_service_with_its_command() -> None:
    services = {name: SERVICES[name]["command"] for name in OURS}
    started = {
        process.name: process.command[process.command.index("cli.main") + 1 :]
        for process in platform_processes(Settings(order_workers=2))
    }
    assert services == started | {"migrate": ["migrate"], "seed": ["seed"], "demo": ["demo"]}


def test_a_service_waits_only_for_services_and_sets_only_settings() -> None:
    known = {f"HUNDI_{name.upper()}" for name in Settings.model_fields}
    for name, service in SERVICES.items():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
        ours = {key for key in service.get("environment", {}) if key.startswith("HUNDI_")}
        assert ours <= known, name


def test_each_process_is_given_the_secrets_that_it_needs_and_no_other() -> None:
    given = {name: SECRETS & SERVICES[name].get("environment", {}).keys() for name in OURS}
    assert given == NEEDED


def test_no_secret_has_a_default_and_the_script_makes_every_one() -> None:
    text = Path("docker-compose.yml").read_text()
    demanded = set(re.findall(r"\$\{(\w+):\?", text))
    assert re.findall(r"\$\{(\w*(?:PASSWORD|SECRET)\w*)(?!\w|:\?)", text) == []
    made = subprocess.run(["deploy/secrets.sh"], capture_output=True, text=True, check=True).stdout
    values = dict(line.split("=") for line in made.splitlines())
    assert values.keys() == demanded
    assert len(set(values.values())) == len(values)
    assert all(re.fullmatch(r"[0-9a-f]{64}", value) for value in values.values())


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_can_do_no_more_than_its_work(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert service["read_only"] is (name != "temporal-ui")
    assert "privileged" not in service and "cap_add" not in service
    assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_postgresql_and_temporal_have_roles_of_their_own() -> None:
    temporal = SERVICES["temporal"]["environment"]
    assert (temporal["POSTGRES_USER"], SERVICES["temporal-schema"]["environment"]["SQL_USER"]) == (
        "temporal",
        "temporal",
    )
    roles = Path("deploy/postgres/roles.sh").read_text()
    assert {"hundi", "hundi_app", "temporal"} == set(re.findall(r"CREATE ROLE (\w+) LOGIN", roles))
    assert "SUPERUSER" not in roles
    handed = {key for key in SERVICES["postgres"]["environment"] if key.endswith("_PASSWORD")}
    assert handed == set(re.findall(r"\$(POSTGRES_\w+_PASSWORD)", roles)) | {"POSTGRES_PASSWORD"}


def test_valkey_knows_the_user_of_the_embedded_server_and_no_other() -> None:
    """The administrator of the embedded server is for tests; here nobody needs one."""
    rules = [line for line in VALKEY_USERS.splitlines() if "{admin}" not in line]
    written = re.findall(r"^user .*$", Path("deploy/valkey/start.sh").read_text(), re.MULTILINE)
    assert written == [rule.replace("{application}", "$digest") for rule in rules]


def test_temporal_runs_as_the_embedded_server_does() -> None:
    """Same version, same limits, same search attributes; the database plugin is the cheaper one."""
    said = subprocess.run(
        [Path(sys.executable).parent / "temporal", "--version"], capture_output=True, text=True, check=True
    ).stdout
    server, ui = re.findall(r"(?:Server|UI) ([\d.]+)", said)
    images = {name: SERVICES[name]["image"] for name in SERVICES if "temporalio" in SERVICES[name]["image"]}
    assert images == {
        "temporal-schema": f"temporalio/admin-tools:{server}",
        "temporal": f"temporalio/server:{server}",
        "namespace": f"temporalio/admin-tools:{server}",
        "temporal-ui": f"temporalio/ui:{ui}",
    }
    environment, [mounted] = SERVICES["temporal"]["environment"], SERVICES["temporal"]["volumes"]
    file, where, _ = mounted.split(":")
    assert environment["DYNAMIC_CONFIG_FILE_PATH"] == where
    limits = yaml.safe_load(Path(file).read_text())
    assert {key: value for key, [value] in limits.items()} == {
        key: {"value": limit} for key, limit in TEMPORAL_LIMITS.items()
    }
    assert (environment["DB"], environment["NUM_HISTORY_SHARDS"]) == ("postgres12_pgx", "64")
    [script] = SERVICES["namespace"]["command"]
    named = (Settings().temporal_namespace, Settings().temporal_operations_namespace)
    assert f"for namespace in {' '.join(named)}; do" in script
    assert re.findall(r"--name (\w+) --type Keyword", script) == list(TEMPORAL_SEARCH_ATTRIBUTES)


def test_every_file_that_is_mounted_is_in_the_repository() -> None:
    mounted = [
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", [])
        if volume.startswith(".")
    ]
    assert mounted and all(Path(file).is_file() for file in mounted)


def test_the_exchange_files_are_where_the_demo_looks_for_them() -> None:
    """Control sockets and the wire log in one volume, the trade files in another."""
    volumes = {
        name: {volume.split(":")[1]: volume.split(":")[0] for volume in SERVICES[name].get("volumes", [])}
        for name in ("gateway", "simulator-nse", "simulator-bse", "demo", "operations", "api")
    }
    data, trades, risk = "/var/lib/hundi", "/var/lib/hundi-trades", "/var/lib/hundi-risk"
    assert {volumes[n][data] for n in ("gateway", "simulator-nse", "simulator-bse", "demo")} == {"market"}
    assert {volumes[n][trades] for n in ("simulator-nse", "demo", "operations")} == {"trades"}
    assert {volumes[n][risk] for n in ("simulator-bse", "operations", "api")} == {"risk"}


def test_every_process_that_lives_has_a_health_check() -> None:
    """Of a script that works: the key that the process writes, or its port."""
    checked = {
        name: service["healthcheck"]["test"][1:]
        for name, service in SERVICES.items()
        if name in OURS and "healthcheck" in service
    }
    assert checked.keys() == OURS - {"migrate", "seed", "demo"}
    for name, [program, script, kind, what] in checked.items():
        assert (program, script) == ("python", "deploy/healthy.py")
        assert what == (
            name if kind == "process" else {"simulator-nse": "9880", "simulator-bse": "9881"}[name]
        )


def healthy(settings: Settings, *what: str) -> "subprocess.CompletedProcess[str]":
    environment = environment_of(settings) | {"HUNDI_REDIS_URL": settings.redis_dsn}
    command = [sys.executable, "-I", "deploy/healthy.py", *what]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


def test_the_health_check_tells_who_reports_and_who_listens(servers: Settings) -> None:
    with Redis.from_url(servers.redis_dsn) as redis:
        redis.set("health:checked", msgspec.json.encode(Health(pid=1, ready=True, since_ns=1)), ex=30)
        assert healthy(servers, "process", "checked").returncode == 0
        redis.delete("health:checked")
    away = healthy(servers, "process", "checked")
    assert (away.returncode, away.stderr.strip()) == (1, "not healthy: checked does not report")
    assert healthy(servers, "port", str(servers.port("redis"))).returncode == 0
    assert healthy(servers, "port", str(servers.port("api"))).returncode == 1


@pytest.mark.parametrize("script", sorted(Path("deploy").rglob("*.sh")), ids=str)
def test_a_script_is_executable_and_parses(script: Path) -> None:
    assert script.stat().st_mode & 0o111
    shell = shutil.which("bash" if "bash" in script.read_text().splitlines()[0] else "sh")
    assert shell is not None
    assert subprocess.run([shell, "-n", script], capture_output=True, check=False).returncode == 0
