"""Secrets: refused by value where they are weak, demanded where there is no default, made once."""

import importlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from config.secrets import FILE, EmbeddedSecrets, embedded_secrets
from config.settings import Settings, settings

GOOD = "tV3nq0Zr8mKx2Wd7Lp5Yc1Hs9Bf4Gj6A"
POSTGRES = f"postgresql://hundi_app:{GOOD}@postgres:5432/hundi"
REDIS = f"redis://hundi:{GOOD}@valkey:6379/0"
OUTSIDE = {
    "HUNDI_EMBEDDED": "false",
    "HUNDI_HOST": "0.0.0.0",
    "HUNDI_JWT_SECRET": GOOD,
    "HUNDI_POSTGRES_URL": POSTGRES,
    "HUNDI_REDIS_URL": REDIS,
    "HUNDI_TEMPORAL_ADDRESS": "temporal:7233",
}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """Without a setting of ours, and none is remembered."""
    for name in [name for name in os.environ if name.startswith("HUNDI_")]:
        monkeypatch.delenv(name)
    settings.cache_clear()
    yield monkeypatch
    settings.cache_clear()


def said(process: str, environment: pytest.MonkeyPatch, values: dict[str, str]) -> str:
    """The sentence with which a process refuses to start."""
    for name, value in values.items():
        environment.setenv(name, value)
    settings.cache_clear()
    module, _, function = process.partition(":")
    with pytest.raises(SystemExit) as refused:
        getattr(importlib.import_module(module), function or "main")()
    return str(refused.value)


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("HUNDI_JWT_SECRET", "", "must have at least 32 bytes"),
        ("HUNDI_JWT_SECRET", "Qx7", "must have at least 32 bytes"),
        ("HUNDI_JWT_SECRET", "z" * 64, "repeats the same few letters"),
        ("HUNDI_JWT_SECRET", "embedded-default-not-for-production-0123456789", "everybody can read"),
        ("HUNDI_POSTGRES_URL", "postgresql://hundi_app@postgres:5432/hundi", "must have at least 32 bytes"),
        ("HUNDI_POSTGRES_URL", "postgresql://hundi_app:Qx7pw@postgres/hundi", "must have at least 32 bytes"),
        ("HUNDI_REDIS_URL", "redis://valkey:6379/0", "must have at least 32 bytes"),
        ("HUNDI_REDIS_URL", f"redis://hundi:{'ab' * 20}@valkey:6379/0", "repeats the same few letters"),
    ],
)
def test_a_secret_that_is_none_is_refused_by_its_name_and_never_shown(
    environment: pytest.MonkeyPatch, name: str, value: str, why: str
) -> None:
    sentence = said("workers.api", environment, OUTSIDE | {name: value})
    assert "\n" not in sentence
    assert sentence.startswith(f"hundi: settings are not usable: {name}")
    assert why in sentence
    assert not value or value not in sentence
    assert "Qx7" not in sentence


@pytest.mark.parametrize(
    ("process", "needs"),
    [
        ("workers.api", "HUNDI_JWT_SECRET HUNDI_POSTGRES_URL HUNDI_REDIS_URL HUNDI_TEMPORAL_ADDRESS"),
        ("workers.realtime", "HUNDI_JWT_SECRET HUNDI_REDIS_URL"),
        ("workers.gateway", "HUNDI_POSTGRES_URL HUNDI_REDIS_URL"),
        ("workers.distributor", "HUNDI_POSTGRES_URL HUNDI_REDIS_URL"),
        ("workers.order_worker", "HUNDI_POSTGRES_URL HUNDI_REDIS_URL HUNDI_TEMPORAL_ADDRESS"),
        ("workers.operations", "HUNDI_POSTGRES_URL HUNDI_REDIS_URL HUNDI_TEMPORAL_ADDRESS"),
        ("cli.main:migrate", "HUNDI_POSTGRES_OWNER_URL"),
        ("cli.main:seed", "HUNDI_POSTGRES_OWNER_URL"),
    ],
)
def test_a_process_asks_for_the_secrets_it_needs_and_for_no_other(
    environment: pytest.MonkeyPatch, process: str, needs: str
) -> None:
    """It is given what it is said to need, one after the other: each time it asks for the next."""
    values = OUTSIDE | {"HUNDI_POSTGRES_OWNER_URL": POSTGRES}
    given = {name: OUTSIDE[name] for name in ("HUNDI_EMBEDDED", "HUNDI_HOST")}
    for name in needs.split():
        sentence = said(process, environment, given)
        assert sentence == f"hundi: settings are not usable: HUNDI_EMBEDDED=false demands {name}"
        given[name] = values[name]


def test_the_embedded_market_is_refused_on_an_address_that_others_reach(
    environment: pytest.MonkeyPatch,
) -> None:
    sentence = said("workers.api", environment, {"HUNDI_HOST": "0.0.0.0"})
    assert sentence.startswith("hundi: settings are not usable: HUNDI_HOST=0.0.0.0 is open to others")


def test_two_data_directories_share_no_secret_and_settings_show_none(tmp_path: Path) -> None:
    one, other = Settings(data_dir=tmp_path / "one"), Settings(data_dir=tmp_path / "other")
    ours, theirs = values(one.secrets), values(other.secrets)
    assert len(ours | theirs) == 2 * len(ours)
    assert one.jwt_key in ours
    given = Settings(data_dir=tmp_path, postgres_url=POSTGRES, redis_url=REDIS)
    assert GOOD not in repr(given)


def test_secrets_are_made_once_in_a_file_of_their_owner_s_alone(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as racing:
        made = set(racing.map(embedded_secrets, [directory] * 8))
    assert len(made) == 1
    assert directory.stat().st_mode & 0o777 == 0o700
    assert (directory / FILE).stat().st_mode & 0o777 == 0o600
    assert [file.name for file in directory.iterdir()] == [FILE]
    assert embedded_secrets(directory) in made


def test_a_kill_while_they_are_made_leaves_no_half_of_them(tmp_path: Path) -> None:
    dying = (
        "import os, signal, config.secrets as s, pathlib\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        f"s.embedded_secrets(pathlib.Path({str(tmp_path)!r}))"
    )
    assert subprocess.run([sys.executable, "-c", dying], check=False).returncode == -9
    assert not (tmp_path / FILE).exists()
    assert all(len(value) >= 32 for value in values(embedded_secrets(tmp_path)))


def test_secrets_that_others_can_read_or_that_are_damaged_are_refused_in_a_sentence(tmp_path: Path) -> None:
    for name, text, mode in (("open", "{}", 0o644), ("damaged", '{"jwt_key": "ab', 0o600)):
        (tmp_path / name).mkdir()
        file = tmp_path / name / FILE
        file.write_text(text)
        file.chmod(mode)
        with pytest.raises(SystemExit, match=re.escape(str(file))):
            embedded_secrets(tmp_path / name)


def values(made: EmbeddedSecrets) -> set[str]:
    return {str(getattr(made, name)) for name in made.__slots__}
