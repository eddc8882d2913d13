"""A line of `hundi`: help and version do nothing else; what is asked for wrongly is one sentence."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from cli.main import app
from config.settings import Settings
from tests.support.command_line import hundi, the_sentence


def lines(command: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from lines(inner, (*path, name))


LINES = list(lines(typer.main.get_command(app)))
NAMES = [" ".join(line) or "hundi" for line in LINES]


def test_every_command_is_walked() -> None:
    assert {("demo",), ("up",), ("bench",), ("replay", "ticks")} <= set(LINES)


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("line", LINES, ids=NAMES)
def test_help_is_the_answer_and_nothing_is_done(line: tuple[str, ...], option: str) -> None:
    answer = CliRunner().invoke(app, [*line, option])
    assert answer.exit_code == 0, answer.output
    assert f"Usage: {' '.join(['hundi', *line])}" in answer.output
    assert answer.output.rstrip().endswith("╯") or not line


@pytest.mark.parametrize("line", LINES, ids=NAMES)
def test_every_command_tells_the_version(line: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(app, [*line, "--version"])
    assert (answer.exit_code, answer.output.split()[0]) == (0, "hundi")


@pytest.mark.parametrize("line", LINES, ids=NAMES)
def test_an_unknown_option_is_one_sentence(line: tuple[str, ...]) -> None:
    answer = CliRunner().invoke(app, [*line, "--nonsense"])
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr == "hundi: No such option: --nonsense (see `hundi --help`)\n"


@pytest.mark.parametrize("line", [["nonsense"], ["replay", "nonsense"]])
def test_an_unknown_command_is_one_sentence(line: list[str]) -> None:
    answer = CliRunner().invoke(app, line)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert answer.stderr == "hundi: No such command 'nonsense' (see `hundi --help`)\n"


@pytest.mark.parametrize(
    "line", [["fix"], ["fix", "1", "2"], ["simulator"], ["day", "--phase-seconds", "0"], ["replay", "ticks"]]
)
def test_a_line_that_lacks_or_adds_something_is_one_sentence(line: list[str]) -> None:
    answer = CliRunner().invoke(app, line)
    assert (answer.exit_code, answer.stdout, answer.stderr.count("\n")) == (2, "", 1)


def test_asking_for_nothing_lists_the_commands() -> None:
    answer = CliRunner().invoke(app, [])
    assert "demo" in answer.output and answer.exit_code == 2


def test_help_of_the_demo_speaks_to_no_market(fresh_settings: Settings) -> None:
    with socket.socket() as market:
        market.bind((fresh_settings.host, fresh_settings.port("api")))
        market.listen()
        market.setblocking(False)
        shown = hundi(fresh_settings, "demo", "--help")
        with pytest.raises(BlockingIOError):
            market.accept()
    assert (shown.returncode, shown.stderr) == (0, "")
    assert not list(fresh_settings.data_dir.iterdir())


def test_the_benchmarks_say_which_package_they_lack(fresh_settings: Settings) -> None:
    ended = hundi(fresh_settings, "bench", "margin", run_environment=True)
    said = the_sentence(ended)
    assert ended.returncode == 1
    assert said.startswith("the benchmarks need the development tools and ") and "`make bench`" in said
