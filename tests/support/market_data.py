"""Checks against recorded market data: made where the data is, left out in one line where it is not.

The data belongs to others and is no part of the repository: it lies beside the checkout, or where
HUNDI_MARKET_DATA says. A test that reads it is marked `recorded`; what such a test proves is proved on
generated data as well, so that a clone alone tests every promise. A pytest plugin, named in conftest.py.
"""

import os
from pathlib import Path
from typing import Any

import pytest

_BESIDE = Path(__file__).resolve().parents[3] / "shared" / "data"
MARKET_DATA = Path(os.environ.get("HUNDI_MARKET_DATA", _BESIDE))
_LEFT_OUT = pytest.StashKey[list[str]]()

recorded = pytest.mark.recorded


def recorded_file(pattern: str) -> Path:
    """The one file of the recorded data that a pattern names. Raises FileNotFoundError."""
    found = sorted(MARKET_DATA.glob(pattern))
    if not found:
        raise FileNotFoundError(MARKET_DATA / pattern)
    return found[0]


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers", "recorded: reads recorded market data that is no part of the repository"
    )
    if "HUNDI_MARKET_DATA" in os.environ and not MARKET_DATA.is_dir():
        raise pytest.UsageError(f"HUNDI_MARKET_DATA: there is no folder {MARKET_DATA}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if MARKET_DATA.is_dir():
        return
    left_out = [item for item in items if item.get_closest_marker("recorded")]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
        names = config.stash[_LEFT_OUT] = [item.path.stem.removeprefix("test_") for item in left_out]
        # Of one process of several: said by the one that sums up.
        if (output := getattr(config, "workeroutput", None)) is not None:
            output["left_out"] = names


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended; each has left out the same."""
    node.config.stash[_LEFT_OUT] = getattr(node, "workeroutput", {}).get("left_out", [])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    left_out = config.stash.get(_LEFT_OUT, [])
    if left_out:
        terminalreporter.write_line(
            f"left out: {len(left_out)} checks against recorded market data, which is not in {MARKET_DATA} "
            f"(HUNDI_MARKET_DATA names another folder): {', '.join(sorted(set(left_out)))}"
        )
