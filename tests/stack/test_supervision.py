"""A process that cannot start is given up with its own last words."""

import sys

import pytest

from config.settings import Settings
from stack.errors import StackError
from stack.processes import Process
from stack.supervision import supervised


@pytest.mark.parametrize("restart", [True, False])
def test_a_process_that_dies_at_once_is_given_up_with_its_last_words(
    fresh_settings: Settings, restart: bool
) -> None:
    directory = fresh_settings.data_dir
    (directory / "logs").mkdir()
    dying = Process("dying", 0, [sys.executable, "-c", "raise SystemExit('100% broken')"], lambda _: False)
    with supervised(fresh_settings, directory, [dying], restart=restart) as supervisor:
        supervisor.start("dying")
        with pytest.raises(StackError, match="dying does not start: 100% broken"):
            supervisor.wait_healthy("dying")
