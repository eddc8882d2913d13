"""docker-compose.yml beside the process table of `hundi up`: the same processes, the same settings."""

from pathlib import Path
from typing import Any

import yaml

from config.settings import Settings
from stack.processes import platform_processes

COMPOSE: dict[str, Any] = yaml.safe_load(Path("docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]


def test_every_process_of_the_stack_is_a_service_with_its_command() -> None:
    services = {name: service["command"] for name, service in SERVICES.items() if "build" in service}
    started = {
        process.name: process.command[process.command.index("cli.main") + 1 :]
        for process in platform_processes(Settings(order_workers=2))
    }
    assert services == started | {"migrate": ["migrate"], "seed": ["seed"]}


def test_a_service_waits_only_for_services_and_sets_only_settings() -> None:
    known = {f"HUNDI_{name.upper()}" for name in Settings.model_fields} | {"HUNDI_WORKER_ID"}
    for name, service in SERVICES.items():
        assert service.get("depends_on", {}).keys() <= SERVICES.keys(), name
        ours = {key for key in service.get("environment", {}) if key.startswith("HUNDI_")}
        assert ours <= known, name
