"""Tidiness that a program can check: words, rooms, sizes, and pages that name what exists.

Each rule reads the source, nothing runs. `PENDING` names the folders that do not keep a rule yet: an entry is
removed with the folder's last fault, none is added.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
PRODUCT = tuple(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["root_packages"])
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
LINES_MAX = 300
README_LINES_MAX = 150
BANNED_WORDS = {"told", "said", "asked"}
SQL = re.compile(r"\s*(SELECT|INSERT INTO|UPDATE|DELETE FROM|WITH)\s")
DATABASE = {"psycopg", "psycopg_pool", "sqlalchemy", "sqlmodel"}
DATABASE_ROOMS = {"storage", "stack"}
"""`stack` starts PostgreSQL and makes its roles."""

PENDING: dict[str, set[str]] = {
    "words": {
        *("activities", "api", "benchmarks", "cli", "config", "domain", "exchange", "pretrade", "realtime"),
        *("stack", "storage", "telemetry", "tests", "workers", "workflow_api", "workflows"),
    },
    "docstrings": {
        *("activities", "api", "bus", "cli", "config", "domain", "exchange", "pretrade", "realtime"),
        *("stack", "storage", "telemetry", "workers", "workflow_api", "workflows"),
    },
    "database": set(),
}
"""Rule -> folders that do not keep it yet."""
PROMISED_NAMES = {("bus/stream_frames.py", "asked")}
"""File and name of what clients already read on the wire."""
SHARED_NAMES = {
    "Candle": "what the API answers, and the row of a kept minute",
    "Charges": "what the API answers, and the domain's figure",
    "Health": "what the API answers, and what a process reports of itself",
    "Holding": "what the API answers, and the domain's value",
    "Instrument": "what the API answers, and the domain's value",
    "Order": "what the API answers, and the order in the simulator's book",
    "Position": "what the API answers, and the domain's value",
    "Frozen": "what the API answers, and the row of a trading state",
    "Asked": "two API models, to be named apart",
}
"""Class name -> why it is defined twice. Models of the API may share a noun with the domain."""
WALKS = re.compile(r"`([\w/]+\.py): ([\w.]+)`")
FILES = re.compile(r"(?<![\w/.:])((?:[\w.-]+/)+[\w.-]+\.(?:py|md|sh|lua|csv|tsv|sql|yml|yaml|toml))\b")


class Source(NamedTuple):
    path: Path
    folder: str
    text: str
    tree: ast.Module
    nodes: list[ast.AST]

    @property
    def name(self) -> str:
        return str(self.path.relative_to(ROOT))


class Fault(NamedTuple):
    folder: str
    place: str


@cache
def read(folder: str) -> tuple[Source, ...]:
    return tuple(
        Source(path, folder, text, tree, list(ast.walk(tree)))
        for path in sorted((ROOT / folder).rglob("*.py"))
        if "node_modules" not in path.parts
        for text in [path.read_text()]
        for tree in [ast.parse(text)]
    )


def sources(*folders: str) -> Iterator[Source]:
    for folder in folders:
        yield from read(folder)


def names(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Names that the source gives: variables, parameters, fields, functions, classes."""
    for node in nodes:
        match node:
            case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()):
                yield node.lineno, name
            case ast.arg(arg=name) | ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
                yield node.lineno, name
            case ast.ClassDef(name=name):
                yield node.lineno, name


def docstrings(nodes: list[ast.AST]) -> Iterator[tuple[int, str]]:
    """Of modules, classes and functions, and those below an assignment."""
    for node in nodes:
        body = getattr(node, "body", None)
        if not isinstance(body, list):
            continue
        for before, statement in zip([None, *body], body, strict=False):
            match statement:
                case ast.Expr(value=ast.Constant(value=str() as text)) if before is None or isinstance(
                    before, ast.Assign | ast.AnnAssign
                ):
                    yield statement.lineno, text


def word_faults() -> Iterator[Fault]:
    for source in sources(*PRODUCT, "tests", "benchmarks"):
        for line, name in names(source.nodes):
            if BANNED_WORDS & set(name.lower().split("_")) and (source.name, name) not in PROMISED_NAMES:
                yield Fault(source.folder, f"{source.name}:{line} {name}")


def docstring_faults() -> Iterator[Fault]:
    for source in sources(*PRODUCT):
        for line, text in docstrings(source.nodes):
            flat = " ".join(text.split())
            if re.match(r"(Of|What)\b", flat) or re.search(r"[.!?] Of\b", flat):
                yield Fault(source.folder, f"{source.name}:{line} {flat[:60]}")


def database_faults() -> Iterator[Fault]:
    for source in sources(*(folder for folder in PRODUCT if folder not in DATABASE_ROOMS)):
        for node in source.nodes:
            match node:
                case ast.Constant(value=str() as text) if SQL.match(text):
                    yield Fault(source.folder, f"{source.name}:{node.lineno} {text.split()[:4]}")
                case ast.Import(names=[ast.alias(name=module)]) | ast.ImportFrom(module=str() as module):
                    if module.split(".")[0] in DATABASE:
                        yield Fault(source.folder, f"{source.name}:{node.lineno} imports {module}")


@pytest.mark.parametrize(
    ("rule", "faults"),
    [("words", word_faults), ("docstrings", docstring_faults), ("database", database_faults)],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_every_folder_keeps_the_rule_or_is_on_the_list(
    rule: str, faults: Callable[[], Iterator[Fault]]
) -> None:
    assert [fault.place for fault in faults() if fault.folder not in PENDING[rule]] == []


def test_no_file_of_the_product_is_longer_than_a_reader_can_hold() -> None:
    lengths = {source.name: source.text.count("\n") for source in sources(*PRODUCT)}
    assert {name: lines for name, lines in lengths.items() if lines > LINES_MAX} == {}


def test_a_class_name_means_one_thing() -> None:
    homes = defaultdict(list)
    for source in sources(*PRODUCT):
        for node in source.nodes:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                homes[node.name].append(source.name)
    doubled = {name: places for name, places in homes.items() if len(places) > 1}
    assert {name: places for name, places in doubled.items() if name not in SHARED_NAMES} == {}


def test_pages_and_docstrings_name_files_that_exist() -> None:
    texts = {str(page.relative_to(ROOT)): page.read_text() for page in PAGES}
    texts |= {s.name: ast.get_docstring(s.tree) or "" for s in sources(*PRODUCT, "tests", "benchmarks")}
    missing = [
        (place, file)
        for place, text in texts.items()
        for file in FILES.findall(re.sub(r"\]\([^)]*\)|https?://\S+", "", text))
        if file.split("/")[0] in {path.name for path in ROOT.iterdir()} and not (ROOT / file).exists()
    ]
    assert missing == []


def test_links_of_pages_lead_somewhere() -> None:
    pages = [*PAGES, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs" / "adr").glob("*.md"))]
    links = [
        (page, link) for page in pages for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    ]
    assert len(links) > 100
    assert [(page.name, link) for page, link in links if not (page.parent / link).exists()] == []


def test_the_readme_can_be_read_in_one_sitting() -> None:
    assert (ROOT / "README.md").read_text().count("\n") <= README_LINES_MAX


def test_the_index_of_decisions_is_complete() -> None:
    folder = ROOT / "docs" / "adr"
    listed = re.findall(r"\]\((\d{4}-[\w.-]+\.md)\)", (folder / "README.md").read_text())
    assert listed == sorted(path.name for path in folder.glob("[0-9]*.md"))


def definitions(tree: ast.AST, prefix: str = "") -> Iterator[str]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + node.name
            if isinstance(node, ast.ClassDef):
                yield from definitions(node, f"{prefix}{node.name}.")


def test_every_step_of_the_walks_exists() -> None:
    steps = WALKS.findall((ROOT / "docs" / "ARCHITECTURE.md").read_text())
    assert len(steps) > 40
    defined = {source.name: set(definitions(source.tree)) for source in sources(*PRODUCT)}
    assert [step for step in steps if step[1] not in defined.get(step[0], set())] == []


def test_a_walk_uses_no_class_name_for_two_things() -> None:
    homes: dict[str, set[str]] = defaultdict(set)
    for file, function in WALKS.findall((ROOT / "docs" / "ARCHITECTURE.md").read_text()):
        if function[0].isupper():
            homes[function.split(".")[0]].add(file)
    assert {name: files for name, files in homes.items() if len(files) > 1} == {}


def logged(nodes: list[ast.AST]) -> Iterator[str]:
    """Ids of log events: the first argument of `log.warning(...)` and the like."""
    for node in nodes:
        match node:
            case ast.Call(
                func=ast.Attribute(value=ast.Name(id="log")), args=[ast.Constant(value=str() as event), *_]
            ):
                yield event


def test_a_log_event_is_an_id_that_an_alarm_can_name() -> None:
    events = [event for source in sources(*PRODUCT) for event in logged(source.nodes)]
    assert len(events) > 50
    assert [event for event in events if not re.fullmatch(r"[a-z]+(_[a-z]+)*", event)] == []


def test_the_runbook_names_log_events_that_exist() -> None:
    page = (ROOT / "docs" / "RUNBOOK.md").read_text()
    named = set(re.findall(r"^\| `([^`]+)` \| (?:info|warning|error|critical) \|", page, re.MULTILINE))
    assert len(named) > 20
    assert named - {event for source in sources(*PRODUCT) for event in logged(source.nodes)} == set()


def test_the_runbook_names_alerts_that_exist() -> None:
    page = (ROOT / "docs" / "RUNBOOK.md").read_text()
    words = {
        node.value
        for source in sources(*PRODUCT)
        for node in source.nodes
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }
    named = set(re.findall(r"(?<![\w$`{])([A-Z]+(?:_[A-Z]+)+)(?![\w`])", page))
    assert {name for name in named if not name.startswith("HUNDI_")} - words == set()
